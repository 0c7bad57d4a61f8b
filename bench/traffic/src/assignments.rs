//! Which server each flow came to last, as the judge saw it.

use crate::book::{Book, Judge};
use crate::setup::Service;
use std::net::SocketAddr;

/// The servers of a trial's flows, those that come and go in it left out. Memory: 2 bytes a flow.
#[derive(Clone, Debug)]
pub struct Assignments {
    book: Book,
    servers: Vec<String>,
    /// By flow: its server's place in `servers`; None: nothing of it came.
    by_flow: Vec<Option<u16>>,
}

/// One flow and its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assignment<'a> {
    /// The client's address and port.
    pub client: SocketAddr,
    /// Whom it spoke to.
    pub service: Service,
    /// The server's name, as findings have it.
    pub server: &'a str,
}

impl Assignments {
    /// Those of flows below `flows`.
    pub(crate) fn of(judge: &Judge, flows: u32) -> Self {
        let servers = judge.expectation().servers.iter().map(|server| server.name.clone()).collect();
        let by_flow = (0..flows).map(|flow| judge.server_of(flow)).collect();
        Self { book: judge.sender().clone(), servers, by_flow }
    }

    /// All flows of which something came to a server, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Assignment<'_>> + Clone {
        (0..).zip(&self.by_flow).filter_map(|(flow, server)| {
            let server = self.servers.get(usize::from((*server)?))?;
            let tuple = self.book.space.tuple(flow);
            let service = *self.book.space.services().get(tuple.service)?;
            Some(Assignment { client: SocketAddr::new(tuple.client, tuple.port), service, server })
        })
    }
}
