//! The faults that the demo can inject; `faults` says how.

/// A fault that lasts as long as the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing fails.
    None,
    /// The class has one machine, whose job takes hours.
    AtLimit,
    /// Machines stay after their job, and the cloud accepts terminations without effect.
    DeafMachines,
    /// The forge's job list cannot be read.
    NoJobList,
    /// There are no spot machines, so that most launches are refused.
    NoSpot,
    /// The cloud denies every launch.
    DeniedLaunches,
    /// Machines boot, but their runner never starts.
    BrokenImage,
    /// The forge assigns no job to its idle runners.
    MuteForge,
    /// A message is delivered again and again, and never acknowledged.
    PoisonedMessage,
    /// The dead-letter queue has a message.
    DeadLetter,
    /// No webhook arrives.
    LostWebhooks,
    /// Somebody sends webhooks with a wrong signature, besides those of the forge.
    ForgedWebhooks,
    /// Machines take six minutes to boot.
    SlowBoots,
    /// Another replica holds the lease and does not poll.
    NoLeader,
    /// The budget of the class is spent by its first machine.
    SpentBudget,
    /// The cloud takes every machine within ten minutes, and the forge runs no job again.
    FailingReruns,
}
