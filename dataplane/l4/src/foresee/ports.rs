//! Which workers have a source port left.

use std::cell::OnceCell;

/// Which workers have a source port left for servers of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ports {
    None,
    Some,
    All,
}

/// What is known of that for each family. It is looked up when it is first asked for, and once for all servers: of a worker
/// without a port it reads the whole share.
#[derive(Default)]
pub(super) struct PortsByFamily {
    v4: OnceCell<Ports>,
    v6: OnceCell<Ports>,
}

impl PortsByFamily {
    /// Of so many workers; `has` says of one whether it has a port left for that family.
    pub(super) fn of(&self, v4: bool, workers: usize, has: impl FnMut(&usize) -> bool) -> Ports {
        let known = if v4 { &self.v4 } else { &self.v6 };
        *known.get_or_init(|| match (0..workers).filter(has).count() {
            0 => Ports::None,
            some if some < workers => Ports::Some,
            _ => Ports::All,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_asked_once_for_each_family() {
        let (known, mut asked) = (PortsByFamily::default(), Vec::new());
        for _ in 0..3 {
            for (v4, has, expected) in [(true, [true, true], Ports::All), (false, [false, true], Ports::Some)]
            {
                let ports = known.of(v4, 2, |worker| {
                    asked.push((v4, *worker));
                    has[*worker]
                });
                assert_eq!(ports, expected);
            }
        }
        assert_eq!(asked, [(true, 0), (true, 1), (false, 0), (false, 1)]);
        assert_eq!(PortsByFamily::default().of(true, 2, |_| false), Ports::None);
    }
}
