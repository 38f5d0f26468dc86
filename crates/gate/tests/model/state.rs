//! What there is in the model's world: a database and its standby, nodes, requests and changes.
//!
//! Everything is finite, so that every order of events can be tried. What can't matter is left out: the tenant is one more
//! lock like the user's, addresses and scopes are further columns of the same row.

/// Keys of the one tenant. Both have the same administrator.
pub const KEYS: usize = 2;
/// Server processes.
pub const NODES: usize = 2;
/// Requests that run at the same time at most, on one node or on both. Each makes way for the next: there are any number.
pub const REQUESTS: usize = 2;
/// Changes that take a right away.
pub const CHANGES: usize = 2;

/// What a change takes away. Its answer is a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A key is revoked: `App::revoke_key`.
    RevokeKey(usize),
    /// The keys' administrator is demoted.
    Demote,
}

impl Change {
    /// Whether this key may not pass any more.
    pub fn hits(self, key: usize) -> bool {
        match self {
            Change::RevokeKey(revoked) => revoked == key,
            Change::Demote => true,
        }
    }
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Not begun, or lost at the failover before anybody was told.
    Open,
    /// Committed on the primary; COMMIT has not returned. Here it also is when its process has died before the answer: it stays
    /// so, or is asked for again, and goes on as if nothing had been done yet but the change itself.
    Committed,
    /// COMMIT has returned: the standby has it too.
    Durable,
    /// Its barrier has passed.
    Barriered,
    /// It was answered.
    Answered,
}

/// A committed state of the database: what a statement's snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Db {
    /// The tenant's epoch.
    pub epoch: u8,
    /// Which keys are revoked.
    pub revoked: [bool; KEYS],
    /// Whether the administrator is demoted.
    pub demoted: bool,
}

impl Db {
    /// `store::gate::look_up`: key, administrator and epoch in one statement.
    pub fn look_up(&self, key: usize) -> Known {
        Known { epoch: self.epoch, good: !self.revoked[key] && !self.demoted }
    }

    /// Whether the database holds what this change wrote.
    pub fn holds(&self, change: Change) -> bool {
        match change {
            Change::RevokeKey(key) => self.revoked[key],
            Change::Demote => self.demoted,
        }
    }
}

/// `store::gate::Known`: a looked-up key with its epoch. The decision table is one word here: everything but the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known {
    /// The epoch that was read with it.
    pub epoch: u8,
    /// Whether the table lets it pass.
    pub good: bool,
}

/// What a shared read answered: the state of the database when the statement ran, at the database's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// What its snapshot showed.
    pub db: Db,
    /// `clock_timestamp()`.
    pub time: u8,
}

/// Which of the gate's two shared reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Lane<Epochs>`.
    Epochs,
    /// `Lane<Keys>`.
    Keys,
}

/// `gate::epoch::Lane`: one read in flight, one queued. Sets of requests are bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Who waits for the next read.
    pub queue: u8,
    /// Who is answered by the one in flight; none is in flight when nobody is.
    pub flight: u8,
    /// What the database has answered, on its way to the node.
    pub read: Option<Read>,
}

/// `Gate` on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// `gate::memory::Memory`.
    pub memory: [Option<Known>; KEYS],
    /// The two lanes.
    pub epochs: Lane,
    /// Look-ups.
    pub keys: Lane,
}

impl Node {
    /// The lane of this kind.
    pub fn lane(&self, kind: Kind) -> &Lane {
        match kind {
            Kind::Epochs => &self.epochs,
            Kind::Keys => &self.keys,
        }
    }

    /// The same, to be changed.
    pub fn lane_mut(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Epochs => &mut self.epochs,
            Kind::Keys => &mut self.keys,
        }
    }
}

/// A check that runs: who asks, and what the promise says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask {
    /// On which node.
    pub node: usize,
    /// Which key.
    pub key: usize,
    /// Whether it is a step of an open stream: `Gate::readmit`.
    pub stream: bool,
    /// Whether it began after the answer: then it must not pass. The gate does not see this.
    pub late: bool,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The next may come.
    Idle,
    /// Remembered; waits for an epoch read.
    WaitsForEpoch(Ask, Known),
    /// Waits for a look-up.
    WaitsForKey(Ask),
    /// The look-up has answered; what it found is not remembered yet.
    HasKey(Ask, Known, u8),
    /// Let in; does what it asked for.
    Admitted(Ask, Known),
    /// An open stream between two steps.
    Streams(Ask),
    /// In a transaction: has sent the statement that locks and checks in one, with this snapshot (broken on purpose).
    WaitsForLock(usize, Known, Read),
    /// In a transaction: holds its shared locks, has not checked.
    Locked(usize, Known),
    /// Holds its locks, saw another epoch, decides the whole table again.
    Again(usize),
    /// Holds its locks and has been let through: it will commit, or be cut.
    Checked(usize),
}

impl Phase {
    /// Whether this transaction holds the shared lock that this change's barrier takes.
    pub fn holds(self, change: Change, user_too: bool) -> bool {
        let (Phase::Locked(key, _) | Phase::Again(key) | Phase::Checked(key)) = self else { return false };
        match change {
            Change::RevokeKey(revoked) => revoked == key,
            Change::Demote => user_too,
        }
    }
}

/// What was broken, where a variant breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// A request passed whose check began after the answer.
    Request,
    /// A stream's step did.
    Stream,
    /// A write took effect after the answer.
    Write,
}

/// The world at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    /// What is committed on the primary.
    pub primary: Db,
    /// What the synchronous standby has of it.
    pub standby: Db,
    /// Epochs given out so far: a random id never comes again, whatever was lost.
    pub given: u8,
    /// The database's time: at 1 the key that expires has expired.
    pub time: u8,
    /// Whether there may still be a failover.
    pub failover: bool,
    /// The nodes.
    pub nodes: [Node; NODES],
    /// The requests.
    pub requests: [Phase; REQUESTS],
    /// The changes.
    pub changes: [Step; CHANGES],
    /// The promise that was broken.
    pub broken: Option<Broken>,
}

impl World {
    /// The same world with its nodes and its requests in a fixed order: which of them is called the first does not matter.
    /// Nor does it matter what is remembered under an epoch that no later read can show: only that it is remembered.
    pub fn representative(&self) -> World {
        let mut world = self.clone();
        let shown = [self.primary.epoch, self.standby.epoch];
        for entry in world.nodes.iter_mut().flat_map(|node| node.memory.iter_mut().flatten()) {
            if !shown.contains(&entry.epoch) {
                *entry = Known { epoch: u8::MAX, good: false };
            }
        }
        let orders = [(false, false), (false, true), (true, false), (true, true)];
        let renamed = orders.map(|(nodes, requests)| world.renamed(nodes, requests));
        renamed.into_iter().min().unwrap_or(world)
    }

    fn renamed(&self, nodes: bool, requests: bool) -> World {
        let mut world = self.clone();
        if nodes {
            world.nodes.swap(0, 1);
            for phase in &mut world.requests {
                if let Phase::WaitsForEpoch(ask, _)
                | Phase::WaitsForKey(ask)
                | Phase::HasKey(ask, ..)
                | Phase::Admitted(ask, _)
                | Phase::Streams(ask) = phase
                {
                    ask.node = 1 - ask.node;
                }
            }
        }
        if requests {
            world.requests.swap(0, 1);
            for lane in world.nodes.iter_mut().flat_map(|node| [&mut node.epochs, &mut node.keys]) {
                let swapped = |set: u8| (set & 1) << 1 | set >> 1;
                (lane.queue, lane.flight) = (swapped(lane.queue), swapped(lane.flight));
            }
        }
        world
    }
}
