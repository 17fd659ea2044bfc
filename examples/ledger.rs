//! Accounts that survive `kill -9`: every transfer is on disk before it changes a balance.
//!
//! A stage after the journal sees only what is durable, so whatever it does or says is never taken back by a crash. On the next run the journal
//! is replayed through the same function, and the balances are there again. Use it so for anything that is a sum of its events: ledgers,
//! inventories, order books.
//!
//! ```sh
//! cargo run --release --example ledger              # again and again: each run goes on where the last one ended
//! cargo run --release --example ledger -- --crash   # kills itself half-way, as hard as the system can
//! cargo run --release --example ledger -- DIR       # keeps the journal there, not in the system's temporary folder
//! ```

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use ringway::{BusConfig, Journal, JournalConfig, Plain, PublishError, Topology};
use std::error::Error;
use std::path::PathBuf;
use std::{env, process, thread};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const ACCOUNTS: usize = 16;
const OPENING_CENTS: u64 = 1_000;
/// Of one run.
const TRANSFERS: u64 = 20_000;

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Transfer {
    from: u64,
    to: u64,
    cents: u64,
}

impl Transfer {
    /// Always the same one for a number, so that this program can check what it recovers.
    fn number(number: u64) -> Self {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            from: (mixed >> 60) % ACCOUNTS as u64,
            to: (mixed >> 54) % ACCOUNTS as u64,
            cents: (mixed >> 40) % 500,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Accounts([u64; ACCOUNTS]);

impl Accounts {
    fn opened() -> Self {
        Self([OPENING_CENTS; ACCOUNTS])
    }

    /// A transfer that its account cannot pay changes nothing: when it is replayed just as the first time.
    fn apply(&mut self, transfer: &Transfer) {
        let (from, to) = (transfer.from as usize, transfer.to as usize);
        if self.0[from] >= transfer.cents {
            self.0[from] -= transfer.cents;
            self.0[to] += transfer.cents;
        }
    }

    /// What they must be after the first `count` transfers.
    fn after(count: u64) -> Self {
        let mut accounts = Self::opened();
        (0..count).for_each(|number| accounts.apply(&Transfer::number(number)));
        accounts
    }

    fn cents(&self) -> u64 {
        self.0.iter().sum()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut crashes, mut directory) = (false, env::temp_dir().join("ringway-ledger"));
    for argument in env::args().skip(1) {
        match &*argument {
            "--crash" => crashes = true,
            _ => directory = PathBuf::from(argument),
        }
    }

    let config = JournalConfig {
        segment_bytes: 4 << 20,
        ..JournalConfig::default()
    };
    let codec = Plain::<Transfer>::with_id(u64::from_le_bytes(*b"transfer"));
    let journal = Journal::open(&directory, config, codec)?;
    if let Some(cut) = &journal.recovery().cut {
        let bytes = cut.bytes;
        println!("cut {bytes} bytes, which nobody had been told were durable");
    }
    let mut accounts = Accounts::opened();
    for record in journal.replay(journal.first())? {
        accounts.apply(&record?.event);
    }
    let recovered = journal.next().get();
    assert_eq!(accounts, Accounts::after(recovered));
    let cents = accounts.cents();
    println!(
        "recovered {recovered} transfers from {}: {cents} cents",
        directory.display()
    );

    let mut topology = Topology::single(BusConfig::default(), Transfer::default)?;
    let durable = topology.stage("journal").journal(journal);
    let (_, mut confirmed) = topology.stage("confirm").after([durable]).consumer();
    let (bus, mut producer) = topology.start()?;
    let teller = thread::spawn(move || {
        for number in recovered..recovered + TRANSFERS {
            let sequence = producer.publish(Transfer::number(number));
            let sequence = sequence.map_err(PublishError::without_event)?;
            assert_eq!(
                sequence.get(),
                number,
                "numbers go on where the journal ended"
            );
        }
        Ok::<_, PublishError<()>>(())
    });

    let mut count = recovered;
    while let Ok(batch) = confirmed.read() {
        batch.iter().for_each(|transfer| accounts.apply(transfer));
        count += batch.len() as u64;
        println!("confirmed {count} transfers");
        if crashes && count >= recovered + TRANSFERS / 2 {
            let id = process::id().to_string();
            process::Command::new("kill").args(["-9", &id]).status()?;
        }
    }
    teller.join().expect("the teller does not panic")?;
    bus.shutdown()?;

    assert_eq!(count, recovered + TRANSFERS);
    assert_eq!(accounts, Accounts::after(count));
    let cents = accounts.cents();
    println!("{count} transfers are on disk: {cents} cents, as at the start");
    Ok(())
}
