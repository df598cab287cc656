//! What the token system should do, in a page of plain code: one company, no database, no concurrency.
//!
//! `random` runs the same steps here and on the server, and compares every answer and every balance.

use std::collections::BTreeMap;

use crate::db::tokens::{BucketKind, Taken};

#[derive(Debug, Clone)]
struct Bucket {
    kind: BucketKind,
    priority: i16,
    remaining: i64,
    reserved: i64,
    expires: i64,
    created: i64,
    /// Its purchase was paid back: nothing that comes back into it stays.
    revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Held,
    /// The hold is over, nobody has decided.
    Pending,
    Done,
    Failed,
    Compensated,
}

#[derive(Debug, Clone)]
struct Deed {
    state: State,
    /// (bucket, tokens): held while `Held`, taken once `Done`.
    shares: Vec<(usize, i64)>,
    expires: i64,
}

/// Never, for a purchased bucket.
const NEVER: i64 = i64::MAX;

/// One company's tokens.
#[derive(Debug, Default)]
pub(super) struct Model {
    buckets: Vec<Bucket>,
    deeds: BTreeMap<String, Deed>,
    expired_share_ms: i64,
    /// Granted, spent, expired and taken back in all: conservation.
    pub(super) granted: i64,
    pub(super) spent: i64,
    pub(super) expired: i64,
    pub(super) revoked: i64,
}

impl Model {
    pub(super) fn new(expired_share_ms: i64) -> Self {
        Self {
            expired_share_ms,
            ..Self::default()
        }
    }

    /// Everything due by `now`, in the order of time; a hold that ends at an instant ends before a bucket does.
    pub(super) fn advance(&mut self, now: i64) {
        loop {
            let holds = self.deeds.iter().filter(|(_, deed)| deed.state == State::Held);
            let hold = holds.map(|(key, deed)| (deed.expires, key.clone())).min();
            let open = self
                .buckets
                .iter()
                .enumerate()
                .filter(|(_, bucket)| bucket.remaining > bucket.reserved);
            let bucket = open.map(|(index, bucket)| (bucket.expires, index)).min();
            match (hold, bucket) {
                (Some((at, key)), _) if at <= now && bucket.is_none_or(|(expires, _)| at <= expires) => {
                    self.end_hold(&key, 0, at);
                    self.deeds.get_mut(&key).unwrap().state = State::Pending;
                }
                (_, Some((at, index))) if at <= now => self.expire(index),
                _ => return,
            }
        }
    }

    fn expire(&mut self, index: usize) {
        let bucket = &mut self.buckets[index];
        self.expired += bucket.remaining - bucket.reserved;
        bucket.remaining = bucket.reserved;
    }

    /// Spends the first `spent` tokens of a hold, gives the rest back; what returns to an expired bucket expires.
    fn end_hold(&mut self, key: &str, spent: i64, at: i64) -> Vec<(usize, i64)> {
        let shares = self.deeds[key].shares.clone();
        let (mut left, mut taken) = (spent, Vec::new());
        for (index, held) in shares {
            let part = held.min(left);
            left -= part;
            self.buckets[index].reserved -= held;
            self.buckets[index].remaining -= part;
            self.spent += part;
            if part > 0 {
                taken.push((index, part));
            }
            if self.buckets[index].expires < at {
                self.expire(index);
            } else if self.buckets[index].revoked {
                self.revoke(index);
            }
        }
        taken
    }

    /// Takes back what is left and not held: (taken back, held).
    pub(super) fn revoke(&mut self, index: usize) -> (i64, i64) {
        let bucket = &mut self.buckets[index];
        let back = bucket.remaining - bucket.reserved;
        bucket.remaining = bucket.reserved;
        bucket.revoked = true;
        self.revoked += back;
        (back, bucket.reserved)
    }

    /// The new bucket's index.
    pub(super) fn grant(
        &mut self,
        kind: BucketKind,
        amount: i64,
        priority: i16,
        expires: Option<i64>,
        now: i64,
    ) -> usize {
        self.granted += amount;
        let expires = expires.unwrap_or(NEVER);
        self.buckets.push(Bucket {
            kind,
            priority,
            remaining: amount,
            reserved: 0,
            expires,
            created: now,
            revoked: false,
        });
        self.buckets.len() - 1
    }

    fn pick(&self, amount: i64) -> Option<Vec<(usize, i64)>> {
        let mut order: Vec<usize> = (0..self.buckets.len()).collect();
        order.sort_by_key(|index| {
            let bucket = &self.buckets[*index];
            (
                bucket.kind == BucketKind::Purchased,
                bucket.priority,
                bucket.expires,
                bucket.created,
            )
        });
        let (mut left, mut shares) = (amount, Vec::new());
        for index in order {
            let bucket = &self.buckets[index];
            let part = left.min(bucket.remaining - bucket.reserved);
            left -= part;
            if part > 0 {
                shares.push((index, part));
            }
        }
        (left == 0).then_some(shares)
    }

    fn taken(&self, shares: &[(usize, i64)]) -> Taken {
        let of = |kind| {
            shares
                .iter()
                .filter(|(index, _)| self.buckets[*index].kind == kind)
                .map(|(_, part)| part)
                .sum()
        };
        let (monthly, promotional) = (of(BucketKind::Monthly), of(BucketKind::Promotional));
        Taken {
            monthly,
            promotional,
            purchased: of(BucketKind::Purchased),
        }
    }

    fn take(&mut self, key: &str, amount: i64) -> Option<Taken> {
        let shares = self.pick(amount);
        let state = if shares.is_some() {
            State::Done
        } else {
            State::Failed
        };
        let shares = shares.unwrap_or_default();
        for (index, part) in &shares {
            self.buckets[*index].remaining -= part;
            self.spent += part;
        }
        let taken = self.taken(&shares);
        self.deeds.insert(
            key.to_owned(),
            Deed {
                state,
                shares,
                expires: 0,
            },
        );
        (state == State::Done).then_some(taken)
    }

    /// What a deduction under a new key takes; `None`: too little.
    pub(super) fn deduct(&mut self, key: &str, amount: i64) -> Option<Taken> {
        self.take(key, amount)
    }

    /// True if it could be held.
    pub(super) fn reserve(&mut self, key: &str, amount: i64, expires: i64) -> bool {
        let shares = self.pick(amount);
        let state = if shares.is_some() {
            State::Held
        } else {
            State::Failed
        };
        let shares = shares.unwrap_or_default();
        for (index, part) in &shares {
            self.buckets[*index].reserved += part;
        }
        self.deeds.insert(
            key.to_owned(),
            Deed {
                state,
                shares,
                expires,
            },
        );
        state == State::Held
    }

    /// What settling takes; `None`: refused, or too late and too little.
    pub(super) fn settle(&mut self, key: &str, amount: i64, now: i64) -> Option<Taken> {
        match self.deeds[key].state {
            State::Held => {
                let shares = self.end_hold(key, amount, now);
                let taken = self.taken(&shares);
                self.deeds.insert(
                    key.to_owned(),
                    Deed {
                        state: State::Done,
                        shares,
                        expires: 0,
                    },
                );
                Some(taken)
            }
            State::Pending => self.take(key, amount),
            State::Done | State::Failed | State::Compensated => None,
        }
    }

    /// True if it was held or pending.
    pub(super) fn release(&mut self, key: &str, now: i64) -> bool {
        let state = self.deeds[key].state;
        if state == State::Held {
            self.end_hold(key, 0, now);
        }
        let is_open = matches!(state, State::Held | State::Pending);
        if is_open {
            self.deeds.get_mut(key).unwrap().state = State::Failed;
        }
        is_open
    }

    /// True if there was something to take back.
    pub(super) fn compensate(&mut self, key: &str, now: i64) -> bool {
        let deed = self.deeds.get_mut(key).unwrap();
        if deed.state != State::Done {
            return false;
        }
        deed.state = State::Compensated;
        let mut late = 0;
        for (index, part) in deed.shares.clone() {
            self.spent -= part;
            if self.buckets[index].revoked {
                self.revoked += part;
            } else if self.buckets[index].expires <= now {
                late += part;
            } else {
                self.buckets[index].remaining += part;
            }
        }
        if late > 0 && self.expired_share_ms > 0 {
            let expires = now + self.expired_share_ms;
            let (kind, priority) = (BucketKind::Promotional, 100);
            self.buckets.push(Bucket {
                kind,
                priority,
                remaining: late,
                reserved: 0,
                expires,
                created: now,
                revoked: false,
            });
        } else {
            self.expired += late;
        }
        true
    }

    pub(super) fn state(&self, key: &str) -> State {
        self.deeds[key].state
    }

    /// Monthly, promotional, purchased, reserved.
    pub(super) fn figures(&self) -> [i64; 4] {
        let all: Vec<(usize, i64)> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(index, bucket)| (index, bucket.remaining))
            .collect();
        let sums = self.taken(&all);
        let reserved = self.buckets.iter().map(|bucket| bucket.reserved).sum();
        [sums.monthly, sums.promotional, sums.purchased, reserved]
    }
}
