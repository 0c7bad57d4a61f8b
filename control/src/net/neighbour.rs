//! Neighbours: who is resolved, and keeping servers and gateways resolved before a packet needs them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::{Mac, Net, NetError, Place, Tried, event, family_of, request};

/// How often a neighbour is probed where the kernel does not manage neighbours itself. The kernel's own period is 5 s.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Who keeps a neighbour resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// The kernel (NTF_EXT_MANAGED).
    Kernel,
    /// This process, by a probe each [`PROBE_INTERVAL`]: kernels before 5.16.
    Probes,
    /// Nobody: an operator made the entry permanent, and it is left alone.
    Static,
}

/// The neighbours that this process probes.
#[derive(Debug, Clone, Default)]
pub(super) struct Probed(Arc<Mutex<BTreeSet<Place>>>);

impl Net {
    /// Every resolved neighbour: interface, address, MAC. Multicast entries and unresolved ones are left out.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn neighbours(&self) -> Result<Vec<(u32, IpAddr, Mac)>, NetError> {
        let question = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let answer = request::dump(&self.handle, question, "listing neighbours").await?;
        let resolved = answer.iter().filter_map(|message| match event::decode(message) {
            Some(super::NetEvent::Neighbour { ifindex, ip, mac: Some(mac) }) => Some((ifindex, ip, mac)),
            _ => None,
        });
        Ok(resolved.collect())
    }

    /// Have this neighbour resolved now and kept resolved, also while no packet uses it; a failed one is tried again
    /// every few seconds, unless the kernel deletes it: its garbage collection spares only entries that are resolved and in use. Repeating
    /// it is fine. The state, and that it was deleted, arrive as [`super::NetEvent::Neighbour`].
    ///
    /// # Errors
    /// What the kernel said (no such interface, interface down, an address that is no neighbour's).
    pub async fn manage_neighbour(&self, ifindex: u32, ip: IpAddr) -> Result<Upkeep, NetError> {
        let present = look_up(&self.handle, ifindex, ip).await?;
        if present.as_ref().is_some_and(is_permanent) {
            return Ok(Upkeep::Static);
        }
        let learned = learned_flag(present.as_ref());
        let mut message = entry(ifindex, ip, NeighbourFlags::Use | learned);
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        let doing = format!("managing neighbour {ip} on interface {ifindex}");
        match write(&self.handle, message, NLM_F_CREATE | NLM_F_REPLACE, &doing).await {
            Ok(()) => {}
            Err(error) if error.errno() == Some(libc::EINVAL) => {
                // A kernel that knows extended flags, but not this one.
                return self.manage_neighbour_by_probes(ifindex, ip).await;
            }
            Err(error) => return Err(error),
        }
        // A kernel that knows no extended flags skips the attribute without a word: look.
        if look_up(&self.handle, ifindex, ip).await?.as_ref().is_some_and(is_managed) {
            return Ok(Upkeep::Kernel);
        }
        self.manage_neighbour_by_probes(ifindex, ip).await
    }

    /// [`Net::manage_neighbour`] for many, in their order.
    pub async fn manage_neighbours(&self, all: Vec<Place>) -> Vec<Tried<Upkeep>> {
        request::all(all, |at| async move { (at, self.manage_neighbour(at.0, at.1).await) }).await
    }

    /// [`Net::unmanage_neighbour`] for many, in their order.
    pub async fn unmanage_neighbours(&self, all: Vec<Place>) -> Vec<Tried<()>> {
        request::all(all, |at| async move { (at, self.unmanage_neighbour(at.0, at.1).await) }).await
    }

    /// What [`Net::manage_neighbour`] falls back to: probe now and every [`PROBE_INTERVAL`].
    ///
    /// # Errors
    /// What the kernel said about the first probe.
    pub async fn manage_neighbour_by_probes(&self, ifindex: u32, ip: IpAddr) -> Result<Upkeep, NetError> {
        let upkeep = probe(&self.handle, ifindex, ip).await?;
        if upkeep == Upkeep::Probes {
            self.probed.lock().insert((ifindex, ip));
        }
        Ok(upkeep)
    }

    /// Leave this neighbour to its usual life. One that does not exist is fine.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn unmanage_neighbour(&self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        self.probed.lock().remove(&(ifindex, ip));
        let Some(present) = look_up(&self.handle, ifindex, ip).await? else { return Ok(()) };
        if !is_managed(&present) {
            return Ok(());
        }
        // A request without the flag takes it away; NTF_USE keeps the state and the MAC as they are.
        let message = entry(ifindex, ip, NeighbourFlags::Use | learned_flag(Some(&present)));
        let doing = format!("releasing neighbour {ip} on interface {ifindex}");
        match write(&self.handle, message, NLM_F_REPLACE, &doing).await {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            result => result,
        }
    }
}

/// Probe what must be probed until every [`Net`] is gone.
pub(super) fn start_probing(handle: Handle, probed: &Probed) {
    let weak = Arc::downgrade(&probed.0);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            let Some(keys) = due(&weak) else { return };
            for (ifindex, ip) in keys {
                if let Err(error) = probe(&handle, ifindex, ip).await {
                    tracing::debug!(%error, "neighbour probe failed");
                }
            }
        }
    });
}

fn due(probed: &Weak<Mutex<BTreeSet<Place>>>) -> Option<Vec<Place>> {
    let probed = Probed(probed.upgrade()?);
    let keys = probed.lock().iter().copied().collect();
    Some(keys)
}

impl Probed {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        // A set of plain values is whole at every step, so a poisoned lock is as good as another.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Have the kernel resolve it, unless it is permanent: NTF_USE would turn that into an ordinary entry.
async fn probe(handle: &Handle, ifindex: u32, ip: IpAddr) -> Result<Upkeep, NetError> {
    let present = look_up(handle, ifindex, ip).await?;
    if present.as_ref().is_some_and(is_permanent) {
        return Ok(Upkeep::Static);
    }
    let doing = format!("probing neighbour {ip} on interface {ifindex}");
    let message = entry(ifindex, ip, NeighbourFlags::Use | learned_flag(present.as_ref()));
    write(handle, message, NLM_F_CREATE | NLM_F_REPLACE, &doing).await?;
    Ok(Upkeep::Probes)
}

/// The kernel's entry for one neighbour, whatever its state.
async fn look_up(handle: &Handle, ifindex: u32, ip: IpAddr) -> Result<Option<NeighbourMessage>, NetError> {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(ip);
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(ip)));
    let doing = format!("looking up neighbour {ip} on interface {ifindex}");
    match request::get(handle, RouteNetlinkMessage::GetNeighbour(message), &doing).await {
        Ok(RouteNetlinkMessage::NewNeighbour(found)) => Ok(Some(found)),
        Ok(_) => Err(NetError::NoAnswer { doing }),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn write(handle: &Handle, message: NeighbourMessage, flags: u16, doing: &str) -> Result<(), NetError> {
    request::change(handle, RouteNetlinkMessage::NewNeighbour(message), flags, doing).await
}

fn entry(ifindex: u32, ip: IpAddr, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(ip);
    message.header.ifindex = ifindex;
    message.header.flags = flags;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(ip)));
    message
}

/// A request without this flag would take it from an entry that a routing daemon installed.
fn learned_flag(present: Option<&NeighbourMessage>) -> NeighbourFlags {
    present.map_or(NeighbourFlags::empty(), |m| m.header.flags & NeighbourFlags::ExtLearned)
}

fn is_permanent(message: &NeighbourMessage) -> bool {
    message.header.state == NeighbourState::Permanent
}

fn is_managed(message: &NeighbourMessage) -> bool {
    message.attributes.iter().any(
        |a| matches!(a, NeighbourAttribute::ExtFlags(flags) if flags.contains(NeighbourExtFlags::Managed)),
    )
}
