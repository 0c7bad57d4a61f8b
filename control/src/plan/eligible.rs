//! Whether a server may get new flows, and what keeps it from them.

use super::{Health, Plan, Reach, ServerRecord};
use crate::config::{OperatorState, PanicThen};

/// What keeps a server from new flows: the first that holds, in the order in which people mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Out<'a> {
    /// It is not in the configuration any more; flows that it has go on.
    Gone,
    /// An operator, or the file, took it out.
    Operator(OperatorState),
    /// Its check finds it down, or has not ended yet.
    Health(Health),
    /// Its agent says that it is down.
    AgentSaysDown,
    /// Its agent wants no flows.
    Agent(OperatorState),
    /// Its pool is in panic, and sends elsewhere, or nowhere.
    Panic(PanicThen),
    /// It is this node itself, which drains.
    NodeDrains,
    /// There is no way to it: why.
    Unreachable(&'a str),
}

impl Plan {
    /// Whether a configured server may get new flows.
    #[must_use]
    pub fn eligible(&self, record: &ServerRecord) -> bool {
        self.out(record).is_none()
    }

    /// What keeps a server from new flows; `None`: nothing does.
    #[must_use]
    pub fn out<'a>(&self, record: &'a ServerRecord) -> Option<Out<'a>> {
        if record.ghost {
            return Some(Out::Gone);
        }
        if record.operator != OperatorState::Ready {
            return Some(Out::Operator(record.operator));
        }
        if !record.is_taken_for_up() {
            let checked = record.health.is_up() || record.panic == Some(PanicThen::All);
            let by_agent = record.agent_says_down() && checked;
            return Some(if by_agent { Out::AgentSaysDown } else { Out::Health(record.health) });
        }
        if record.wanted() != OperatorState::Ready {
            return Some(Out::Agent(record.wanted()));
        }
        if let Some(then) = record.panic.filter(|_| record.barred) {
            return Some(Out::Panic(then));
        }
        match &record.reach {
            Reach::Unreachable(unreachable) => Some(Out::Unreachable(&unreachable.why)),
            Reach::Itself if self.node_drain.is_some() => Some(Out::NodeDrains),
            Reach::Itself | Reach::Unknown | Reach::Via { .. } => None,
        }
    }
}
