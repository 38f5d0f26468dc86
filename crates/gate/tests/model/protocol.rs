//! The protocol, step by step, as `crates/gate` runs it; and the ways in which it could have been built wrong.

use stateright::{Model, Property};

use crate::state::{
    Ask, Broken, CHANGES, Change, Db, KEYS, Kind, Known, NODES, Node, Phase, REQUESTS, Read, Step, World,
};

/// The protocol as it is, or with one thing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As it is.
    Sound,
    /// What is remembered is used without an epoch read.
    MemoryAlone,
    /// A look-up is remembered with an epoch that was read after it.
    NewerEpoch,
    /// A request joins an epoch read that was sent before it arrived.
    JoinsFlight,
    /// The epoch is a number that counts up.
    Counter,
    /// The fence locks and checks in one statement, whose snapshot is older than its wait.
    OneStatement,
    /// A change is answered before its barrier.
    NoBarrier,
    /// The fence locks the key and not its administrator.
    KeyAlone,
    /// An expiry is decided by the clock of the node, which may be behind.
    NodeClock,
    /// A stream asks once, when it is opened.
    StreamTrusts,
    /// Nothing of ours is wrong, but no standby is synchronous: COMMIT returns before the standby has it.
    NoStandby,
}

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// The protocol, or what is wrong with it.
    pub variant: Variant,
    /// The changes.
    pub changes: [Change; CHANGES],
    /// Whether a failover to the standby may happen; what the standby does not have by then is lost.
    pub failover: bool,
    /// The key that expires by itself.
    pub expires: Option<usize>,
    /// With how many of the keys requests come.
    pub keys: usize,
}

/// The database in the beginning.
const EMPTY: Db = Db { epoch: 0, revoked: [false; KEYS], demoted: false };

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A request arrives at this node, with this key.
    Arrives { request: usize, node: usize, key: usize },
    /// An open stream is about to hand out its next piece.
    StreamSteps { request: usize },
    /// The node sends a shared read for all that wait.
    Sends { node: usize, read: Kind },
    /// The statement runs.
    Runs { node: usize, read: Kind },
    /// Its answer arrives at the node.
    Answers { node: usize, read: Kind },
    /// A request that looked its key up remembers it, and goes on.
    Remembers { request: usize },
    /// What was let in is answered and done.
    Ends { request: usize },
    /// What was let in is a stream, and stays.
    Opens { request: usize },
    /// What was let in changes something: it sends the statement that waits for its locks.
    SendsLock { request: usize },
    /// It holds its shared locks.
    Locks { request: usize },
    /// It checks, in a statement of its own.
    Checks { request: usize },
    /// It commits.
    Commits { request: usize },
    /// It is rolled back: by a fault, a limit of time, or because it was refused elsewhere.
    RollsBack { request: usize },
    /// A change commits.
    Changes(Change),
    /// Its COMMIT returns.
    Returns(Change),
    /// Its process dies before the answer. Whoever asks again begins anew.
    Crashes(Change),
    /// Its barrier passes: nobody holds the lock of what it touched.
    Barrier(Change),
    /// It is answered.
    Answer(Change),
    /// The standby catches up.
    Replicates,
    /// The primary is gone and fenced, the standby is the primary.
    FailsOver,
    /// The database's clock goes on.
    Ticks,
}

impl Protocol {
    /// Row by row what `decide::identify` and `authorize` say, in two words.
    fn passes(&self, known: Known, key: usize, time: u8) -> bool {
        known.good && !(self.expires == Some(key) && self.clock(time) >= 1)
    }

    fn clock(&self, database: u8) -> u8 {
        // The node's clock stands still: it may be behind by any amount.
        if self.variant == Variant::NodeClock { 0 } else { database }
    }

    /// Whether the promise forbids this key's next check to pass.
    fn is_forbidden(&self, world: &World, key: usize) -> bool {
        let answered = (0..CHANGES).any(|at| world.changes[at] == Step::Answered && self.changes[at].hits(key));
        answered || (self.expires == Some(key) && world.time >= 1)
    }

    /// `Gate::know`, first half. The entry is taken out of memory before the epoch is asked for.
    fn begin_check(&self, world: &mut World, request: usize, ask: Ask) {
        let ask = Ask { late: self.is_forbidden(world, ask.key), ..ask };
        let node = &mut world.nodes[ask.node];
        let bit = 1 << request;
        world.requests[request] = match node.memory[ask.key] {
            _ if ask.stream && self.variant == Variant::StreamTrusts => return self.pass(world, request, ask, None),
            Some(known) if self.variant == Variant::MemoryAlone => {
                return self.decide(world, request, ask, known, world.time);
            }
            Some(known) => {
                let joins = self.variant == Variant::JoinsFlight && node.epochs.flight != 0;
                let set = if joins { &mut node.epochs.flight } else { &mut node.epochs.queue };
                *set |= bit;
                Phase::WaitsForEpoch(ask, known)
            }
            None => {
                node.keys.queue |= bit;
                Phase::WaitsForKey(ask)
            }
        };
    }

    /// `Gate::know` after an epoch read: it goes on at once. That it could dawdle adds nothing: it holds what it has read.
    fn compare(&self, world: &mut World, request: usize, ask: Ask, known: Known, read: Read) {
        if read.db.epoch == known.epoch {
            self.decide(world, request, ask, known, read.time);
        } else {
            world.nodes[ask.node].keys.queue |= 1 << request;
            world.requests[request] = Phase::WaitsForKey(ask);
        }
    }

    /// `Gate::know` after a look-up: it dawdles as long as it likes before it remembers, so a later one may be first.
    fn remember(&self, world: &mut World, request: usize) {
        let Phase::HasKey(ask, known, time) = world.requests[request] else { return };
        let epoch = if self.variant == Variant::NewerEpoch { world.primary.epoch } else { known.epoch };
        world.nodes[ask.node].memory[ask.key] = Some(Known { epoch, ..known });
        self.decide(world, request, ask, known, time);
    }

    /// `serve` in `epoch.rs`: the answer goes to those for whom it was sent; who came meanwhile waits for the next read.
    fn answer(&self, world: &mut World, node: usize, kind: Kind) {
        let lane = world.nodes[node].lane_mut(kind);
        let Some(read) = lane.read.take() else { return };
        let told = std::mem::take(&mut lane.flight);
        for request in (0..REQUESTS).filter(|request| told & (1 << request) != 0) {
            match world.requests[request] {
                Phase::WaitsForEpoch(ask, known) => self.compare(world, request, ask, known, read),
                Phase::WaitsForKey(ask) => {
                    world.requests[request] = Phase::HasKey(ask, read.db.look_up(ask.key), read.time);
                }
                _ => {}
            }
        }
    }

    fn decide(&self, world: &mut World, request: usize, ask: Ask, known: Known, time: u8) {
        if self.passes(known, ask.key, time) {
            self.pass(world, request, ask, Some(known));
        } else {
            world.requests[request] = Phase::Idle;
        }
    }

    fn pass(&self, world: &mut World, request: usize, ask: Ask, known: Option<Known>) {
        if ask.late {
            world.broken = Some(if ask.stream { Broken::Stream } else { Broken::Request });
        }
        let ask = Ask { late: false, ..ask };
        world.requests[request] = match known {
            Some(known) if !ask.stream => Phase::Admitted(ask, known),
            _ => Phase::Streams(ask),
        };
    }

    /// `gate::fence::fence` after its locks: the epoch and the time in a second statement; at another epoch the look-up in a
    /// third. Each sees what is committed when it runs: READ COMMITTED.
    fn check(&self, world: &mut World, request: usize) {
        let time = world.time;
        let (key, known) = match world.requests[request] {
            Phase::Locked(key, known) if known.epoch == world.primary.epoch => (key, known),
            Phase::Locked(key, _) => {
                world.requests[request] = Phase::Again(key);
                return;
            }
            Phase::Again(key) => (key, world.primary.look_up(key)),
            _ => return,
        };
        self.let_through(world, request, key, known, time);
    }

    fn let_through(&self, world: &mut World, request: usize, key: usize, known: Known, time: u8) {
        if !self.passes(known, key, time) {
            world.requests[request] = Phase::Idle;
            return;
        }
        if self.expires == Some(key) && time >= 1 {
            world.broken = Some(Broken::Write);
        }
        world.requests[request] = Phase::Checked(key);
    }

    /// What a change writes, and what its triggers do: a new epoch in the same transaction.
    fn write(&self, world: &mut World, change: Change) {
        match change {
            Change::RevokeKey(key) => world.primary.revoked[key] = true,
            Change::Demote => world.primary.demoted = true,
        }
        world.given += 1;
        world.primary.epoch = if self.variant == Variant::Counter { world.primary.epoch + 1 } else { world.given };
        if !self.failover {
            world.standby = world.primary;
        }
    }

    /// The old primary takes its connections, transactions and locks with it. A change that the standby does not have is
    /// undone; nobody was told of it.
    fn fail_over(&self, world: &mut World) {
        world.primary = world.standby;
        world.failover = false;
        for phase in &mut world.requests {
            if matches!(phase, Phase::WaitsForLock(..) | Phase::Locked(..) | Phase::Again(_) | Phase::Checked(_)) {
                *phase = Phase::Idle;
            }
        }
        for (step, change) in world.changes.iter_mut().zip(self.changes) {
            if *step == Step::Committed && !world.primary.holds(change) {
                *step = Step::Open;
            }
        }
    }

    fn step_of<'a>(&self, world: &'a mut World, change: Change) -> &'a mut Step {
        let at = self.changes.iter().position(|other| *other == change).unwrap_or_default();
        &mut world.changes[at]
    }

    /// Whether a remembered key is about to pass: an epoch read that found the same is on its way to the node.
    fn is_about_to_pass(&self, world: &World, stream: bool) -> bool {
        any(world, |phase| {
            let Phase::WaitsForEpoch(ask, known) = phase else { return false };
            let read = world.nodes[ask.node].epochs.read;
            read.is_some_and(|read| {
                ask.stream == stream && read.db.epoch == known.epoch && self.passes(known, ask.key, read.time)
            })
        })
    }

    fn request_actions(&self, world: &World, request: usize, actions: &mut Vec<Action>) {
        match world.requests[request] {
            Phase::Idle => {
                for node in 0..NODES {
                    actions.extend((0..self.keys).map(|key| Action::Arrives { request, node, key }));
                }
            }
            Phase::HasKey(..) => actions.push(Action::Remembers { request }),
            Phase::Admitted(..) => {
                actions.extend([Action::Ends { request }, Action::Opens { request }]);
                actions.push(if self.variant == Variant::OneStatement {
                    Action::SendsLock { request }
                } else {
                    Action::Locks { request }
                });
            }
            Phase::Streams(_) => actions.extend([Action::StreamSteps { request }, Action::Ends { request }]),
            Phase::WaitsForLock(..) => actions.push(Action::Locks { request }),
            Phase::Locked(..) | Phase::Again(_) => {
                actions.extend([Action::Checks { request }, Action::RollsBack { request }]);
            }
            Phase::Checked(_) => actions.extend([Action::Commits { request }, Action::RollsBack { request }]),
            Phase::WaitsForEpoch(..) | Phase::WaitsForKey(_) => {}
        }
    }

    fn change_actions(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let change = self.changes[at];
        match world.changes[at] {
            Step::Open => actions.push(Action::Changes(change)),
            Step::Committed => {
                if world.standby.holds(change) || self.variant == Variant::NoStandby {
                    actions.push(Action::Returns(change));
                }
            }
            Step::Durable => {
                let user_too = self.variant != Variant::KeyAlone;
                let waits = world.requests.iter().any(|request| request.holds(change, user_too));
                if !waits || self.variant == Variant::NoBarrier {
                    actions.push(Action::Barrier(change));
                }
                actions.push(Action::Crashes(change));
            }
            Step::Barriered => actions.extend([Action::Answer(change), Action::Crashes(change)]),
            Step::Answered => {}
        }
    }
}

fn lane_actions(node: &Node, number: usize, actions: &mut Vec<Action>) {
    for read in [Kind::Epochs, Kind::Keys] {
        let lane = node.lane(read);
        match (lane.flight, lane.read) {
            (0, _) if lane.queue != 0 => actions.push(Action::Sends { node: number, read }),
            (0, _) => {}
            (_, None) => actions.push(Action::Runs { node: number, read }),
            (_, Some(_)) => actions.push(Action::Answers { node: number, read }),
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            primary: EMPTY,
            standby: EMPTY,
            given: 0,
            time: 0,
            failover: self.failover,
            nodes: [Node::default(); NODES],
            requests: [Phase::Idle; REQUESTS],
            changes: [Step::Open; CHANGES],
            broken: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        (0..REQUESTS).for_each(|request| self.request_actions(world, request, actions));
        (0..NODES).for_each(|node| lane_actions(&world.nodes[node], node, actions));
        (0..CHANGES).for_each(|at| self.change_actions(world, at, actions));
        if self.failover && world.standby != world.primary {
            actions.push(Action::Replicates);
        }
        if world.failover {
            actions.push(Action::FailsOver);
        }
        if self.expires.is_some() && world.time == 0 {
            actions.push(Action::Ticks);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Arrives { request, node, key } => {
                self.begin_check(&mut world, request, Ask { node, key, stream: false, late: false });
            }
            Action::StreamSteps { request } => {
                let Phase::Streams(ask) = before.requests[request] else { return None };
                self.begin_check(&mut world, request, ask);
            }
            Action::Sends { node, read } => {
                let lane = world.nodes[node].lane_mut(read);
                lane.flight = std::mem::take(&mut lane.queue);
            }
            Action::Runs { node, read } => {
                // An epoch read shows nothing of the keys.
                let epoch = Db { epoch: world.primary.epoch, ..EMPTY };
                let db = if read == Kind::Epochs { epoch } else { world.primary };
                let seen = Read { db, time: world.time };
                world.nodes[node].lane_mut(read).read = Some(seen);
            }
            Action::Answers { node, read } => self.answer(&mut world, node, read),
            Action::Remembers { request } => self.remember(&mut world, request),
            Action::Ends { request } | Action::RollsBack { request } => world.requests[request] = Phase::Idle,
            Action::Opens { request } => {
                let Phase::Admitted(ask, _) = before.requests[request] else { return None };
                world.requests[request] = Phase::Streams(Ask { stream: true, ..ask });
            }
            Action::SendsLock { request } => {
                let Phase::Admitted(ask, known) = before.requests[request] else { return None };
                let snapshot = Read { db: world.primary, time: world.time };
                world.requests[request] = Phase::WaitsForLock(ask.key, known, snapshot);
            }
            Action::Locks { request } => match before.requests[request] {
                Phase::Admitted(ask, known) => world.requests[request] = Phase::Locked(ask.key, known),
                Phase::WaitsForLock(key, known, snapshot) => {
                    let seen = snapshot.db.look_up(key);
                    let known = if seen.epoch == known.epoch { known } else { seen };
                    self.let_through(&mut world, request, key, known, snapshot.time);
                }
                _ => return None,
            },
            Action::Checks { request } => self.check(&mut world, request),
            Action::Commits { request } => {
                let Phase::Checked(key) = before.requests[request] else { return None };
                let answered = (0..CHANGES).any(|at| world.changes[at] == Step::Answered && self.changes[at].hits(key));
                if answered {
                    world.broken = Some(Broken::Write);
                }
                world.requests[request] = Phase::Idle;
            }
            Action::Changes(change) => {
                self.write(&mut world, change);
                *self.step_of(&mut world, change) = Step::Committed;
            }
            Action::Returns(change) => *self.step_of(&mut world, change) = Step::Durable,
            // What is done already is done again: the row's lock, a COMMIT that waits for the standby, the barrier.
            Action::Crashes(change) => *self.step_of(&mut world, change) = Step::Committed,
            Action::Barrier(change) => *self.step_of(&mut world, change) = Step::Barriered,
            Action::Answer(change) => *self.step_of(&mut world, change) = Step::Answered,
            Action::Replicates => world.standby = world.primary,
            Action::FailsOver => self.fail_over(&mut world),
            Action::Ticks => world.time = 1,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(REQUEST, |_, world: &World| world.broken != Some(Broken::Request)),
            Property::always(STREAM, |_, world: &World| world.broken != Some(Broken::Stream)),
            Property::always(WRITE, |_, world: &World| world.broken != Some(Broken::Write)),
            Property::sometimes("a key that is remembered passes", |model, world| model.is_about_to_pass(world, false)),
            Property::sometimes("a stream takes a further step", |model, world| model.is_about_to_pass(world, true)),
            Property::sometimes("a write is let through", |_, world: &World| {
                any(world, |phase| matches!(phase, Phase::Checked(_)))
            }),
            Property::sometimes("a write that was admitted is refused at the fence", |_, world: &World| {
                any(world, |phase| matches!(phase, Phase::Again(key) if !world.primary.look_up(key).good))
            }),
            Property::sometimes("both changes are answered", |_, world: &World| {
                world.changes == [Step::Answered; CHANGES]
            }),
        ]
    }
}

/// The first promise.
pub const REQUEST: &str = "no request passes whose check began after the answer";
/// The second.
pub const STREAM: &str = "no step of a stream passes whose check began after the answer";
/// The third.
pub const WRITE: &str = "no write takes effect after the answer";

fn any(world: &World, is: impl Fn(Phase) -> bool) -> bool {
    world.requests.iter().any(|phase| is(*phase))
}
