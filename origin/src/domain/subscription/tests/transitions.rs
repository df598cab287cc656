//! Every phase meets every input (`dunning::decide`), and the finer points of an episode.
//!
//! One row a transition, in the order in which phases and inputs are declared, so that rules cannot be reordered
//! unnoticed; a phase or an input without rows fails `every_phase_meets_every_input_in_declared_order`. Days are days
//! since the first refusal; every input becomes known on day 5.

use super::at_day;
use crate::domain::subscription::dunning::{self, Episode, Input, Phase, Step};
use crate::domain::subscription::{EndReason, PlanNews, Policy, RetrySlot};

/// In declared order. A new phase is added here, and [`name_of_phase`] does not compile until it is thought of.
const PHASES: [&str; 6] = ["pending", "active", "past due", "downgraded", "paused", "over"];

/// In declared order, as [`PHASES`].
const INPUTS: [&str; 10] = [
    "charged",
    "declined",
    "retry asked",
    "card changed",
    "grace ended",
    "paused",
    "resumed",
    "end asked",
    "plan",
    "over",
];

/// Phase, input; then the phase after it and the step that is told. An episode is written as
/// `p<period> f<refusals> since<day> grace<day> asked<retries>`, with `hard` and `card<day>` where they hold.
const TABLE: &str = "
    pending | charged p2      | active  | activated
    pending | declined p2     | pending |
    pending | retry asked 1   | pending |
    pending | card changed    | pending |
    pending | grace ended     | pending |
    pending | paused          | pending |
    pending | resumed         | pending |
    pending | end asked       | pending | cancel scheduled
    pending | plan changed    | pending | plan changed
    pending | over canceled   | over canceled 5 | over canceled

    active | charged p2      | active | renewed
    active | declined p2     | past due p2 f1 since5 grace12 asked0 | failed 1
    active | retry asked 1   | active |
    active | card changed    | active | card changed
    active | grace ended     | active |
    active | paused          | paused | paused
    active | resumed         | active |
    active | end asked       | active | cancel scheduled
    active | plan changed    | active | plan changed
    active | over completed  | over completed 5 | over completed

    past due p2 f1 since0 grace7 asked0 | charged p2    | active | recovered
    past due p2 f1 since0 grace7 asked0 | declined p2   | past due p2 f2 since0 grace10 asked0 | failed 2
    past due p2 f1 since0 grace7 asked0 | retry asked 1 | past due p2 f1 since0 grace7 asked2 | retry asked 1
    past due p2 f1 since0 grace7 asked0 | card changed  | past due p2 f1 since0 grace7 asked0 card5 | card changed
    past due p2 f1 since0 grace7 asked0 | grace ended   | downgraded 5 p2 f1 since0 grace7 asked0 | downgraded
    past due p2 f1 since0 grace7 asked0 | paused        | paused | paused
    past due p2 f1 since0 grace7 asked0 | resumed       | past due p2 f1 since0 grace7 asked0 |
    past due p2 f1 since0 grace7 asked0 | end asked     | past due p2 f1 since0 grace7 asked0 | cancel scheduled
    past due p2 f1 since0 grace7 asked0 | plan changed  | past due p2 f1 since0 grace7 asked0 | plan changed
    past due p2 f1 since0 grace7 asked0 | over provider_failures | over provider_failures 5 | over provider_failures

    downgraded 3 p2 f1 since0 grace3 asked1 | charged p2    | active | recovered
    downgraded 3 p2 f1 since0 grace3 asked1 | declined p2   | downgraded 3 p2 f2 since0 grace3 asked1 | failed 2
    downgraded 3 p2 f1 since0 grace3 asked1 | retry asked 2 | downgraded 3 p2 f1 since0 grace3 asked2 | retry asked 2
    downgraded 3 p2 f1 since0 grace3 asked1 | card changed  | downgraded 3 p2 f1 since0 grace3 asked1 card5 | card changed
    downgraded 3 p2 f1 since0 grace3 asked1 | grace ended   | downgraded 3 p2 f1 since0 grace3 asked1 |
    downgraded 3 p2 f1 since0 grace3 asked1 | paused        | paused | paused
    downgraded 3 p2 f1 since0 grace3 asked1 | resumed       | downgraded 3 p2 f1 since0 grace3 asked1 |
    downgraded 3 p2 f1 since0 grace3 asked1 | end asked     | downgraded 3 p2 f1 since0 grace3 asked1 | cancel scheduled
    downgraded 3 p2 f1 since0 grace3 asked1 | plan changed  | downgraded 3 p2 f1 since0 grace3 asked1 | plan changed
    downgraded 3 p2 f1 since0 grace3 asked1 | over provider_stopped | over provider_stopped 5 | over provider_stopped

    paused | charged p2     | paused | renewed
    paused | declined p2    | paused |
    paused | retry asked 1  | paused |
    paused | card changed   | paused | card changed
    paused | grace ended    | paused |
    paused | paused         | paused |
    paused | resumed        | active | resumed
    paused | end asked      | paused | cancel scheduled
    paused | plan changed   | paused | plan changed
    paused | over replaced  | over replaced 5 | over replaced

    over canceled 3 | charged p2      | over canceled 3 | charged after end
    over canceled 3 | declined p2     | over canceled 3 |
    over canceled 3 | retry asked 1   | over canceled 3 |
    over canceled 3 | card changed    | over canceled 3 |
    over canceled 3 | grace ended     | over canceled 3 |
    over canceled 3 | paused          | over canceled 3 |
    over canceled 3 | resumed         | over canceled 3 |
    over canceled 3 | end asked       | over canceled 3 |
    over canceled 3 | plan changed    | over canceled 3 |
    over canceled 3 | over completed  | over canceled 3 |
";

/// Within an episode: the same columns.
const EPISODES: &str = "
    past due p2 f2 since0 grace10 asked1 | declined p2      | past due p2 f3 since0 grace10 asked1 | failed 3
    past due p2 f3 since0 grace10 asked2 | declined p2      | past due p2 f4 since0 grace10 asked2 | failed 4
    past due p2 f1 since0 grace7 asked1  | declined p2 hard | past due p2 f2 since0 grace10 asked1 hard | failed 2
    past due p2 f1 since0 grace7 asked1 hard | declined p2  | past due p2 f2 since0 grace10 asked1 hard | failed 2
    active                               | declined p2 hard | past due p2 f1 since5 grace12 asked0 hard | failed 1
    past due p2 f1 since0 grace7 asked0 hard | card changed | past due p2 f1 since0 grace7 asked0 card5 | card changed
    past due p2 f1 since0 grace7 asked0 card5 | retry asked card | past due p2 f1 since0 grace7 asked2 | retry asked card
    past due p2 f1 since0 grace7 asked0 card5 | retry asked manual | past due p2 f1 since0 grace7 asked2 | retry asked manual
    past due p2 f1 since0 grace7 asked0  | retry asked 3    | past due p2 f1 since0 grace7 asked3 | retry asked 3
    past due p2 f1 since5 grace12 asked0 | retry asked manual | past due p2 f1 since5 grace12 asked0 | retry asked manual
    past due p2 f1 since0 grace7 asked3 hard | declined p3  | past due p3 f2 since5 grace10 asked0 | failed 2
    downgraded 3 p2 f4 since0 grace3 asked3 | declined p3   | downgraded 3 p3 f5 since5 grace3 asked0 | failed 5
    downgraded 3 p2 f4 since0 grace3 asked3 | declined p1   | downgraded 3 p2 f5 since0 grace3 asked3 | failed 5
    past due p3 f2 since0 grace10 asked1 | charged p2       | past due p3 f2 since0 grace10 asked1 | renewed
    past due p3 f2 since0 grace10 asked1 | charged p4       | active | recovered
    downgraded 3 p3 f2 since0 grace3 asked1 | charged p2    | downgraded 3 p3 f2 since0 grace3 asked1 | renewed
    downgraded 3 p3 f2 since0 grace3 asked1 | charged p3    | active | recovered
    past due p2 f2 since0 grace10 asked1 | plan change asked     | past due p2 f2 since0 grace10 asked1 |
    past due p2 f2 since0 grace10 asked1 | plan change scheduled | past due p2 f2 since0 grace10 asked1 | plan change scheduled
    past due p2 f2 since0 grace10 asked1 | plan change revoked   | past due p2 f2 since0 grace10 asked1 | plan change revoked
    past due p2 f2 since0 grace10 asked1 | plan change failed    | past due p2 f2 since0 grace10 asked1 | plan change failed
";

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = table.lines().map(str::trim).filter(|row| !row.is_empty());
    rows.map(|row| row.split('|').map(str::trim).collect())
}

fn check(row: &[&str]) {
    let (phase, step) = dunning::decide(phase(row[0]), input(row[1]), at_day(5), &Policy::default());
    let step = step.map(step_text).unwrap_or_default();
    assert_eq!(
        (phase_text(phase), step.as_str()),
        (row[2].to_owned(), row[3]),
        "{row:?}"
    );
}

#[test]
fn ec_1_ec_2_ec_3_every_phase_meets_every_input_in_declared_order() {
    let mut met = Vec::new();
    for row in rows(TABLE) {
        check(&row);
        met.push((name_of_phase(&phase(row[0])), name_of_input(input(row[1]))));
    }
    let all = PHASES
        .into_iter()
        .flat_map(|phase| INPUTS.map(|input| (phase, input)));
    assert_eq!(met, all.collect::<Vec<_>>());
}

#[test]
fn ec_1_ec_2_an_episode_counts_gives_grace_and_asks() {
    let checked = rows(EPISODES).inspect(|row| check(row)).count();
    assert_eq!(checked, 21);
}

#[test]
fn every_reason_ends_every_phase_but_the_last() {
    for reason in EndReason::ALL {
        for row in rows(TABLE) {
            let before = phase(row[0]);
            let (after, step) = dunning::decide(before, Input::Over(reason), at_day(5), &Policy::default());
            match before {
                Phase::Over(..) => assert_eq!((after, step), (before, None)),
                Phase::Pending
                | Phase::Active
                | Phase::PastDue(_)
                | Phase::Downgraded(..)
                | Phase::Paused => assert_eq!(
                    (after, step),
                    (Phase::Over(reason, at_day(5)), Some(Step::Over(reason)))
                ),
            }
        }
    }
}

const fn name_of_phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Active => "active",
        Phase::PastDue(_) => "past due",
        Phase::Downgraded(..) => "downgraded",
        Phase::Paused => "paused",
        Phase::Over(..) => "over",
    }
}

const fn name_of_input(input: Input) -> &'static str {
    match input {
        Input::Charged { .. } => "charged",
        Input::Declined { .. } => "declined",
        Input::RetryAsked(_) => "retry asked",
        Input::CardChanged => "card changed",
        Input::GraceEnded => "grace ended",
        Input::Paused => "paused",
        Input::Resumed => "resumed",
        Input::EndAsked => "end asked",
        Input::Plan(_) => "plan",
        Input::Over(_) => "over",
    }
}

fn phase(text: &str) -> Phase {
    let name = PHASES.iter().find(|name| text.starts_with(**name)).unwrap();
    let mut words = text[name.len()..].split_whitespace();
    match *name {
        "pending" => Phase::Pending,
        "active" => Phase::Active,
        "past due" => Phase::PastDue(episode(words)),
        "downgraded" => {
            let at = at_day(words.next().unwrap().parse().unwrap());
            Phase::Downgraded(episode(words), at)
        }
        "paused" => Phase::Paused,
        "over" => Phase::Over(
            EndReason::from_label(words.next().unwrap()).unwrap(),
            at_day(words.next().unwrap().parse().unwrap()),
        ),
        other => panic!("{other}"),
    }
}

fn episode<'a>(words: impl Iterator<Item = &'a str>) -> Episode {
    let words: Vec<&str> = words.collect();
    let number = |prefix: &str| {
        let word = words.iter().find_map(|word| word.strip_prefix(prefix))?;
        word.parse::<u32>().ok()
    };
    Episode {
        period: number("p").unwrap(),
        failures: number("f").unwrap(),
        since: at_day(number("since").unwrap()),
        grace_ends_at: at_day(number("grace").unwrap()),
        retries_asked: number("asked").unwrap().try_into().unwrap(),
        hard: words.contains(&"hard"),
        retry_now: number("card").map(at_day),
    }
}

fn input(text: &str) -> Input {
    let name = INPUTS.iter().find(|name| text.starts_with(**name)).unwrap();
    let rest: Vec<&str> = text[name.len()..].split_whitespace().collect();
    let period = || rest[0].strip_prefix('p').unwrap().parse().unwrap();
    match *name {
        "charged" => Input::Charged { period: period() },
        "declined" => Input::Declined {
            period: period(),
            hard: rest.contains(&"hard"),
        },
        "retry asked" => Input::RetryAsked(match rest[0] {
            "card" => RetrySlot::CardChanged,
            "manual" => RetrySlot::Manual,
            number => RetrySlot::Scheduled(number.parse().unwrap()),
        }),
        "card changed" => Input::CardChanged,
        "grace ended" => Input::GraceEnded,
        "paused" => Input::Paused,
        "resumed" => Input::Resumed,
        "end asked" => Input::EndAsked,
        "plan" => Input::Plan(PlanNews::from_label(&format!("plan_{}", rest.join("_"))).unwrap()),
        "over" => Input::Over(EndReason::from_label(rest[0]).unwrap()),
        other => panic!("{other}"),
    }
}

fn phase_text(phase: Phase) -> String {
    let name = name_of_phase(&phase);
    match phase {
        Phase::Pending | Phase::Active | Phase::Paused => name.to_owned(),
        Phase::PastDue(episode) => format!("{name} {}", episode_text(&episode)),
        Phase::Downgraded(episode, at) => format!("{name} {} {}", super::day_of(at), episode_text(&episode)),
        Phase::Over(reason, at) => format!("{name} {} {}", reason.label(), super::day_of(at)),
    }
}

fn episode_text(episode: &Episode) -> String {
    let hard = if episode.hard { " hard" } else { "" };
    let card = episode.retry_now.map(|at| format!(" card{}", super::day_of(at)));
    format!(
        "p{} f{} since{} grace{} asked{}{hard}{}",
        episode.period,
        episode.failures,
        super::day_of(episode.since),
        super::day_of(episode.grace_ends_at),
        episode.retries_asked,
        card.unwrap_or_default()
    )
}

fn step_text(step: Step) -> String {
    match step {
        Step::CardBound => "card bound".to_owned(),
        Step::Activated => "activated".to_owned(),
        Step::Renewed => "renewed".to_owned(),
        Step::Failed(number) => format!("failed {number}"),
        Step::RetryAsked(RetrySlot::Scheduled(number)) => format!("retry asked {number}"),
        Step::RetryAsked(RetrySlot::CardChanged) => "retry asked card".to_owned(),
        Step::RetryAsked(RetrySlot::Manual) => "retry asked manual".to_owned(),
        Step::Recovered => "recovered".to_owned(),
        Step::Downgraded => "downgraded".to_owned(),
        Step::CardChanged => "card changed".to_owned(),
        Step::Paused => "paused".to_owned(),
        Step::Resumed => "resumed".to_owned(),
        Step::CancelScheduled => "cancel scheduled".to_owned(),
        Step::Plan(news) => news.label().replace('_', " "),
        Step::Over(reason) => format!("over {}", reason.label()),
        Step::ChargedAfterEnd => "charged after end".to_owned(),
        Step::ChargedTwice => "charged twice".to_owned(),
    }
}
