//! What flows must keep besides their server: their SNAT mapping, their tunnel's source.

use crate::checks::Case;
use crate::expect::{Expectation, Mode};
use crate::findings::Spread;
use crate::kind::Kind;
use crate::mappings::Mappings;
use crate::outers::Outers;
use crate::record::Record;

/// What came of all flows so far.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Of snat services' flows; none where there is no such service.
    mappings: Option<Mappings>,
    /// Of tunnel services' flows; none where there is no such service.
    outers: Option<Outers>,
}

impl Ends {
    /// For so many flows of the expectation's services.
    pub(crate) fn new(expect: &Expectation, flows: usize) -> Self {
        let has = |mode: Mode| expect.services.iter().any(|service| service.mode == mode);
        Self {
            mappings: has(Mode::Snat).then(|| Mappings::new(flows)),
            outers: has(Mode::Tunnel).then(|| Outers::new(flows)),
        }
    }

    /// Whether frames may come in a tunnel.
    pub(crate) const fn has_tunnels(&self) -> bool {
        self.outers.is_some()
    }

    /// Over what flows were spread.
    pub(crate) fn spread(&self) -> Spread {
        let mapped = self.mappings.as_ref().map(Mappings::seen).unwrap_or_default();
        let wrapped = self.outers.as_ref().map(Outers::seen).unwrap_or_default();
        Spread {
            sources: mapped.sources + wrapped.sources,
            ports: mapped.ports + wrapped.ports,
            mappings: mapped.mappings,
        }
    }

    /// Compares a packet's with what its flow had. To a flow that `moved` another server's are as good as a new flow's:
    /// the move itself is the finding.
    #[inline]
    pub(crate) fn note(&mut self, case: &Case<'_>, flow: u32, moved: bool, record: &mut Record) {
        let who = case.who;
        if case.service.mode == Mode::Snat
            && case.is_from_snat_pool()
            && let Some(mappings) = &mut self.mappings
        {
            let from = case.packet.source();
            let faults = mappings.note(flow, case.service.transport, from, who.at_ns);
            if let Some(before) = faults.before.filter(|_| !moved) {
                record.find(Kind::ChangedMapping, who, format_args!("{before}"), format_args!("{from}"));
            }
            if let Some(other) = faults.shared_with {
                let expected = format_args!("a mapping of its own");
                record.find(
                    Kind::SharedMapping,
                    who,
                    expected,
                    format_args!("{from}, which is flow {other}'s"),
                );
            }
        }
        if case.service.mode == Mode::Tunnel
            && let (Some(outers), Some(outer)) = (&mut self.outers, case.outer)
            && let Some((before, now)) = outers.note(flow, outer)
            && !moved
        {
            record.find(Kind::OuterChanged, who, format_args!("{before}"), format_args!("{now}"));
        }
    }
}
