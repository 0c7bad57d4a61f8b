//! What a run measures, in which groups, and what it leaves out.

use crate::core::cell::{Axis, Cell, Family, Kind, MODES};
use crate::core::world::Shape;
use clap::ValueEnum;
use ringlead_l4::tables::Mode;

/// Servers of a pool, where their number is not what is varied.
pub const SERVERS: usize = 16;
/// Flows, where their number is not what is varied.
pub const SCALING_FLOWS: usize = 100_000;
/// Most flows of a table: what the addresses of the clients are made for.
pub const FLOWS_MAX: usize = 16_000_000;
/// Rounds: fewer say little, and each moves time on, in which flows must not expire.
pub const ROUNDS: std::ops::RangeInclusive<usize> = 15..=500;
/// Slots of the Maglev tables that are built and compared.
pub const MAGLEV_SLOTS: u32 = 65_537;

const FLOWS: [usize; 5] = [1, 1_000, 100_000, 1_000_000, 10_000_000];
const FLOWS_QUICK: [usize; 2] = [1_000, 1_000_000];
const SERVICES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const SERVICES_QUICK: [usize; 2] = [1, 1_000];
const POOLS: [usize; 3] = [10, 100, 1_000];
const POOLS_QUICK: [usize; 2] = [10, 1_000];
const CONTROL: [usize; 2] = [1, 10_000];
const TABLES: [usize; 3] = [100_000, 1_000_000, 10_000_000];
const TABLES_QUICK: [usize; 1] = [100_000];
/// Tables of up to so many flows are measured beside each other; larger ones a size and mode at a time.
const TOGETHER_MAX: usize = 1_000_000;
/// Fewer flows in the compared tables would all be in the first-level cache.
const TABLE_FLOWS_MIN: usize = 1000;
/// Bytes a flow that all tables together take while they are compared.
const TABLE_PEERS_BYTES: usize = 1000;

/// A part of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Part {
    /// The packet path by mode, family, flows, existing and new flows, workers.
    Path,
    /// The flow table beside other tables.
    Tables,
    /// Maglev tables: building and disruption.
    Maglev,
    /// Loading and reloading many services.
    Control,
    /// The packet path by services and by servers.
    Scaling,
}

/// What is asked for. Empty lists and `None` mean: as usual.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Fewer sizes.
    pub quick: bool,
    /// Modes.
    pub modes: Vec<Mode>,
    /// Families.
    pub families: Vec<Family>,
    /// Flows in the table of the path's rows, and of the compared tables.
    pub flows: Vec<usize>,
    /// Workers of the path's rows.
    pub workers: Vec<usize>,
    /// Existing and new flows.
    pub kinds: Vec<Kind>,
    /// Rounds.
    pub rounds: Option<usize>,
    /// Parts.
    pub only: Vec<Part>,
}

/// What there is to measure on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Bytes of free memory.
    pub memory: usize,
}

/// Rows that are measured in the same rounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// For the progress.
    pub name: String,
    /// What to set up.
    pub worlds: Vec<Shape>,
    /// The rows, each with its world's place.
    pub cells: Vec<(usize, Cell)>,
}

/// All that a run does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Rounds of everything.
    pub rounds: usize,
    /// The packet path.
    pub groups: Vec<Group>,
    /// Flows of the compared tables.
    pub tables: Vec<usize>,
    /// Servers of the Maglev tables.
    pub maglev: Vec<usize>,
    /// Services that are loaded and reloaded.
    pub control: Vec<usize>,
    /// What is not measured, and why, a sentence each.
    pub left_out: Vec<String>,
}

impl Plan {
    /// The plan for what is asked for, on this machine.
    ///
    /// # Errors
    /// What cannot be measured on any account.
    pub fn new(wanted: &Wanted, machine: Machine) -> Result<Self, String> {
        let mut planner = Planner::new(wanted, machine)?;
        if planner.has(Part::Path) {
            planner.path();
        }
        if planner.has(Part::Scaling) {
            planner.services();
            planner.servers();
            planner.accounts();
        }
        if planner.has(Part::Tables) {
            planner.tables();
        }
        if planner.has(Part::Maglev) {
            planner.plan.maglev = POOLS.to_vec();
        }
        if planner.has(Part::Control) {
            planner.plan.control = CONTROL.to_vec();
        }
        Ok(planner.plan)
    }
}

struct Planner<'a> {
    wanted: &'a Wanted,
    machine: Machine,
    modes: Vec<Mode>,
    families: Vec<Family>,
    workers: Vec<usize>,
    kinds: Vec<Kind>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(wanted: &'a Wanted, machine: Machine) -> Result<Self, String> {
        let rounds = wanted.rounds.unwrap_or(if wanted.quick { *ROUNDS.start() } else { 31 });
        let plan = Plan {
            rounds,
            groups: vec![],
            tables: vec![],
            maglev: vec![],
            control: vec![],
            left_out: vec![],
        };
        let mut workers = or_all(&wanted.workers, &[1, 2]);
        if let Some(&most) = workers.iter().max().filter(|most| **most > machine.cores) {
            if !wanted.workers.is_empty() {
                return Err(format!("{most} workers need {most} cores; there are {}", machine.cores));
            }
            workers.retain(|workers| *workers <= machine.cores);
        }
        let mut planner = Self {
            wanted,
            machine,
            modes: or_all(&wanted.modes, &MODES),
            families: or_all(&wanted.families, &Family::ALL),
            kinds: or_all(&wanted.kinds, &Kind::ALL),
            workers,
            plan,
        };
        if planner.workers.len() < 2 && wanted.workers.is_empty() {
            planner.leave_out("2 workers: there is one core");
        }
        Ok(planner)
    }

    fn has(&self, part: Part) -> bool {
        self.wanted.only.is_empty() || self.wanted.only.contains(&part)
    }

    fn leave_out(&mut self, what: impl Into<String>) {
        self.plan.left_out.push(what.into());
    }

    fn path(&mut self) {
        let flows = self.sizes("path", "flows", &self.wanted.flows, &FLOWS, &FLOWS_QUICK);
        let together = Group { name: "path".to_owned(), worlds: vec![], cells: vec![] };
        let mut groups = vec![together];
        for flows in flows {
            for mode in self.modes.clone() {
                let shape = Shape {
                    mode,
                    families: self.families.clone(),
                    flows,
                    services: 1,
                    servers: SERVERS,
                    workers: self.workers.iter().copied().max().unwrap_or(1),
                    accounts: false,
                };
                let cells = self.cells(Axis::Path, &shape, &self.workers);
                if flows > TOGETHER_MAX {
                    let name = format!("path, {flows} flows, {}", mode.name());
                    groups.push(Group { name, worlds: vec![], cells: vec![] });
                }
                let group = if flows > TOGETHER_MAX { groups.last_mut() } else { groups.first_mut() };
                if let Some(group) = group {
                    group.add(shape, cells);
                }
            }
        }
        groups.into_iter().for_each(|group| self.push(group));
    }

    fn services(&mut self) {
        let services = self.sizes("scaling", "services", &[], &SERVICES, &SERVICES_QUICK);
        self.scaling(Axis::Services, "services", &services, |shape, n| shape.services = n);
    }

    fn servers(&mut self) {
        let servers = self.sizes("scaling", "servers", &[], &POOLS, &POOLS_QUICK);
        self.scaling(Axis::Servers, "servers", &servers, |shape, n| shape.servers = n);
    }

    fn accounts(&mut self) {
        self.scaling(Axis::Accounts, "accounts", &[0, 1], |shape, n| shape.accounts = n == 1);
    }

    /// One mode and family at a time, all sizes beside each other.
    fn scaling(&mut self, axis: Axis, name: &str, sizes: &[usize], set: impl Fn(&mut Shape, usize)) {
        for mode in self.modes.clone() {
            for family in self.families.clone() {
                let name = format!("{name}, {} {}", mode.name(), family.name());
                let mut group = Group { name, worlds: vec![], cells: vec![] };
                for &size in sizes {
                    let families = vec![family];
                    let mut shape = Shape {
                        mode,
                        families,
                        flows: SCALING_FLOWS,
                        services: 1,
                        servers: SERVERS,
                        workers: 1,
                        accounts: false,
                    };
                    set(&mut shape, size);
                    let cells = self.cells(axis, &shape, &[1]);
                    group.add(shape, cells);
                }
                self.push(group);
            }
        }
    }

    fn tables(&mut self) {
        let wanted: Vec<usize> =
            self.wanted.flows.iter().copied().filter(|flows| *flows >= TABLE_FLOWS_MIN).collect();
        if wanted.is_empty() && !self.wanted.flows.is_empty() {
            return self.leave_out(format!("tables: fewer than {TABLE_FLOWS_MIN} flows"));
        }
        for flows in self.sizes("tables", "flows", &wanted, &TABLES, &TABLES_QUICK) {
            if flows * TABLE_PEERS_BYTES > self.machine.memory {
                self.leave_out(format!("tables: {flows} flows need {}", gib(flows * TABLE_PEERS_BYTES)));
            } else {
                self.plan.tables.push(flows);
            }
        }
    }

    /// The rows of a world.
    fn cells(&self, axis: Axis, shape: &Shape, workers: &[usize]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &family in &shape.families {
            for &kind in &self.kinds {
                for &workers in workers {
                    let Shape { mode, flows, services, servers, accounts, .. } = *shape;
                    let cell = Cell { axis, mode, family, flows, services, servers, kind, workers, accounts };
                    cells.push(cell);
                }
            }
        }
        cells
    }

    /// The sizes that are asked for, or all, or the quick run's, with a note of those that are missing from it.
    fn sizes(
        &mut self,
        part: &str,
        of: &str,
        wanted: &[usize],
        all: &[usize],
        quick: &[usize],
    ) -> Vec<usize> {
        if !wanted.is_empty() {
            return wanted.to_vec();
        }
        if !self.wanted.quick {
            return all.to_vec();
        }
        let missing: Vec<String> =
            all.iter().filter(|size| !quick.contains(size)).map(ToString::to_string).collect();
        self.leave_out(format!("{part}: {} {of} (--quick)", missing.join(", ")));
        quick.to_vec()
    }

    /// Takes a group into the plan, without the worlds that there is no memory for.
    fn push(&mut self, mut group: Group) {
        while let Some(largest) = group.worlds.iter().map(Shape::bytes).max()
            && group.worlds.iter().map(Shape::bytes).sum::<usize>() > self.machine.memory
        {
            let place = group.worlds.iter().position(|shape| shape.bytes() == largest).unwrap_or(0);
            let needs = gib(largest);
            self.leave_out(format!("{}: {} needs {needs}", group.name, describe(&group.worlds[place])));
            group.remove(place);
        }
        if !group.cells.is_empty() {
            self.plan.groups.push(group);
        }
    }
}

impl Group {
    fn add(&mut self, shape: Shape, cells: Vec<Cell>) {
        let world = self.worlds.len();
        self.worlds.push(shape);
        self.cells.extend(cells.into_iter().map(|cell| (world, cell)));
    }

    fn remove(&mut self, place: usize) {
        self.worlds.remove(place);
        self.cells.retain(|(world, _)| *world != place);
        for (world, _) in &mut self.cells {
            *world -= usize::from(*world > place);
        }
    }
}

fn describe(shape: &Shape) -> String {
    let (mode, flows) = (shape.mode.name(), shape.flows);
    format!("{mode} with {flows} flows, {} services, {} servers", shape.services, shape.servers)
}

fn gib(bytes: usize) -> String {
    format!("{:.1} GiB of free memory", bytes as f64 / f64::from(1 << 30))
}

fn or_all<T: Clone>(some: &[T], all: &[T]) -> Vec<T> {
    if some.is_empty() { all.to_vec() } else { some.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LARGE: Machine = Machine { cores: 8, memory: 1 << 36 };

    fn plan(wanted: &Wanted) -> Plan {
        Plan::new(wanted, LARGE).unwrap()
    }

    fn cells(plan: &Plan) -> Vec<&Cell> {
        plan.groups.iter().flat_map(|group| &group.cells).map(|(_, cell)| cell).collect()
    }

    #[test]
    fn a_full_run_has_every_combination_once_and_leaves_nothing_out() {
        let plan = plan(&Wanted::default());
        let of = |axis| cells(&plan).iter().filter(|cell| cell.axis == axis).count();
        assert_eq!(of(Axis::Path), MODES.len() * 2 * 5 * 2 * 2);
        assert_eq!(of(Axis::Services), MODES.len() * 2 * 5 * 2);
        assert_eq!(of(Axis::Servers), MODES.len() * 2 * 3 * 2);
        assert_eq!(of(Axis::Accounts), MODES.len() * 2 * 2 * 2);
        let names: BTreeSet<String> = cells(&plan).iter().map(|cell| cell.name()).collect();
        assert_eq!(names.len(), cells(&plan).len(), "a name twice");
        assert_eq!((plan.tables.len(), plan.maglev.len(), plan.rounds), (3, 3, 31));
        assert_eq!(plan.control, [1, 10_000]);
        assert_eq!(plan.left_out, [""; 0]);
        for group in &plan.groups {
            for (world, cell) in &group.cells {
                let shape = &group.worlds[*world];
                let same = (shape.mode, shape.flows, shape.services, shape.servers);
                assert_eq!(same, (cell.mode, cell.flows, cell.services, cell.servers), "{}", cell.name());
                assert!(shape.families.contains(&cell.family) && shape.workers >= cell.workers);
            }
        }
    }

    #[test]
    fn a_quick_run_has_every_kind_of_row_and_says_what_is_missing() {
        let quick = Wanted { quick: true, ..Wanted::default() };
        let (full, quick) = (plan(&Wanted::default()), plan(&quick));
        let kinds = |plan: &Plan| -> BTreeSet<String> {
            let kind = |cell: &&Cell| {
                let (mode, family, kind) = (cell.mode.name(), cell.family.name(), cell.kind.name());
                format!("{:?} {mode} {family} {kind} {}", cell.axis, cell.workers)
            };
            cells(plan).iter().map(kind).collect()
        };
        assert_eq!(kinds(&quick), kinds(&full));
        assert!(cells(&quick).len() < cells(&full).len() && !quick.tables.is_empty());
        for part in
            ["path: 1, 100000, 10000000 flows", "10, 100, 10000 services", "100 servers", "tables: 1000000"]
        {
            assert!(quick.left_out.iter().any(|line| line.contains(part)), "{part}: {:?}", quick.left_out);
        }
    }

    #[test]
    fn options_narrow_the_plan() {
        let wanted = Wanted {
            modes: vec![Mode::Dsr],
            families: vec![Family::Ipv6],
            flows: vec![7],
            workers: vec![1],
            kinds: vec![Kind::New],
            only: vec![Part::Path],
            rounds: Some(20),
            quick: true,
        };
        let plan = plan(&wanted);
        let names: Vec<String> = cells(&plan).iter().map(|cell| cell.name()).collect();
        assert_eq!((names, plan.rounds), (vec!["path/dsr/ipv6/7/new/1".to_owned()], 20));
        assert!(plan.tables.is_empty() && plan.maglev.is_empty() && plan.control.is_empty());
        assert!(plan.left_out.is_empty());
    }

    #[test]
    fn flows_narrow_the_compared_tables_too() {
        let tables = |flows: &[usize]| {
            let plan = plan(&Wanted { flows: flows.to_vec(), only: vec![Part::Tables], ..Wanted::default() });
            (plan.tables, plan.left_out)
        };
        assert_eq!(tables(&[1, 5000]), (vec![5000], vec![]));
        assert_eq!(tables(&[1]), (vec![], vec!["tables: fewer than 1000 flows".to_owned()]));
    }

    #[test]
    fn what_the_machine_cannot_do_is_left_out_by_name_or_refused() {
        let small = Machine { cores: 1, memory: 1 << 30 };
        let plan = Plan::new(&Wanted::default(), small).unwrap();
        assert!(cells(&plan).iter().all(|cell| cell.workers == 1 && cell.flows <= 1_000_000));
        let said = plan.left_out.join("\n");
        for part in ["2 workers", "path, 10000000 flows", "tables: 10000000 flows"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        for group in &plan.groups {
            assert!(group.worlds.iter().map(Shape::bytes).sum::<usize>() <= small.memory, "{}", group.name);
        }
        let two = Wanted { workers: vec![2], ..Wanted::default() };
        assert!(Plan::new(&two, small).is_err_and(|why| why.contains("2 workers need 2 cores")));
    }

    #[test]
    fn new_flows_fit_into_the_tables_and_leave_them_between_half_and_four_fifths_full() {
        for (_, shape) in plan(&Wanted::default()).groups.iter().flat_map(|g| g.worlds.iter().enumerate()) {
            let full = |flows: usize| flows as f64 / shape.capacity() as f64;
            let made = shape.fresh() * shape.workers;
            assert!(full(shape.flows + made) <= 0.8, "{shape:?}");
            assert!(full(shape.flows + made) >= 0.5, "{shape:?}");
            assert!(shape.flows < 1000 || full(shape.flows) >= 0.5, "{shape:?}");
        }
    }
}
