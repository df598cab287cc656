//! `tollgate subscription`: charges of stored cards that wait for a person, and numbers of contracts, as the command line has
//! them.
//!
//! the command line → **arguments** → `commands::subscriptions`.
//!
//! Part of the program, not of the library. Invariant: a charge that was paid has the provider's number, and one that was
//! not has none; anything else is refused before a database is opened. Not here: which charges may be settled.

use clap::{ArgGroup, Args, Subcommand};
use tollgate_origin::commands::subscriptions::{self, NumberArguments, SettleArguments};
use tollgate_origin::config::{self, Config};
use tollgate_shared::id::ProviderPaymentId;
use uuid::Uuid;

use super::{Failure, database_url};

#[derive(Subcommand)]
pub(super) enum SubscriptionCommand {
    /// Print the charges of stored cards that no answer of the provider ended.
    HeldCharges,
    /// Say what became of one, after a look in the provider's console; safe to run again.
    SettleCharge(SettleCharge),
    /// Tell PAYUNi's number of a contract (PeriodTradeNo), where the notice that tells it was lost; safe to run again.
    ContractNumber(ContractNumber),
}

#[derive(Args)]
pub(super) struct ContractNumber {
    /// The subscription's id.
    #[arg(long)]
    subscription: Uuid,
    /// PAYUNi's number of the contract; PAYUNi is asked whether it is of this subscription's order.
    #[arg(long)]
    number: ProviderPaymentId,
    /// How you know, for whoever reads the record.
    #[arg(long)]
    note: String,
}

#[derive(Args)]
#[command(group(ArgGroup::new("outcome").required(true).args(["paid_as", "failed"])))]
pub(super) struct SettleCharge {
    /// The charge's id, as `held-charges` prints it.
    #[arg(long)]
    charge: Uuid,
    /// The card was charged with the whole amount, under this number of the provider.
    #[arg(long)]
    paid_as: Option<ProviderPaymentId>,
    /// It was not charged, or what it was charged was paid back in the console.
    #[arg(long)]
    failed: bool,
    /// How you know, for whoever reads the record.
    #[arg(long)]
    note: String,
}

impl SettleCharge {
    fn arguments(self) -> SettleArguments {
        SettleArguments {
            charge: self.charge,
            paid_as: self.paid_as.filter(|_| !self.failed),
            note: self.note,
        }
    }
}

pub(super) async fn run(command: SubscriptionCommand) -> Result<(), Failure> {
    match command {
        SubscriptionCommand::HeldCharges => subscriptions::held_charges(&database_url()?).await?,
        SubscriptionCommand::ContractNumber(told) => {
            let config = Config::from_lookup(&config::environment)?;
            let arguments = NumberArguments {
                subscription: told.subscription,
                number: told.number,
                note: told.note,
            };
            Box::pin(subscriptions::contract_number(config, &arguments)).await?;
        }
        SubscriptionCommand::SettleCharge(settle) => {
            let config = Config::from_lookup(&config::environment)?;
            Box::pin(subscriptions::settle(config, &settle.arguments())).await?;
        }
    }
    Ok(())
}
