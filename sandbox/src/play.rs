//! What falls due when time passes: charges of contracts, retries, notices that were held back.
//!
//! the clock is moved, or time goes by → **[`until`]** → the contract charges → the notice → `delivery`.
//!
//! Invariants: things happen in the order of their due times, and the clock stands at a due time while it happens,
//! so a jump of a year plays twelve charges, each under its own stamp; what fell due at one instant is delivered
//! before the next instant begins; one player at a time.
//! Not here: re-sends of notices (`delivery::run`), what a charge means (`contract`). Nothing here fails.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate_shared::time::Timestamp;

use crate::app::App;
use crate::delivery::deliver;

/// How often the passing of real time is looked at. What is due here is due to the day or the minute.
const PAUSE: Duration = Duration::from_secs(1);

/// Plays what is due up to an instant, and leaves the clock there.
pub(crate) async fn until(app: &App, end: Timestamp) {
    let _turn = app.playing.lock().await;
    while let Some(at) = app.world.with(|world| world.next_due()).filter(|at| *at <= end) {
        app.clock.advance_to(at);
        deliver_all(app, step(app, at)).await;
    }
    app.clock.advance_to(end);
}

/// Everything of one instant; the notices to be delivered.
fn step(app: &App, at: Timestamp) -> Vec<u64> {
    app.world.with(|world| {
        let mut notices = world.release(at);
        for (provider, trade_no) in world.due_contracts(at) {
            notices.extend(app.play_contract(world, provider, &trade_no, at));
        }
        notices
    })
}

/// First deliveries side by side; the pool of `delivery` bounds them.
async fn deliver_all(app: &App, notices: Vec<u64>) {
    let mut deliveries = JoinSet::new();
    for id in notices {
        let app = app.clone();
        deliveries.spawn(async move { deliver(&app, id).await });
    }
    deliveries.join_all().await;
}

/// Plays along as real time passes, for as long as the sandbox lives.
pub(crate) async fn run(app: App) {
    loop {
        tokio::time::sleep(PAUSE).await;
        until(&app, app.clock.now()).await;
    }
}
