//! Webhooks to the role `ingest`: CPU time per webhook, latency at a fixed rate, also beside a
//! client that never finishes its requests, and no loss of accepted ones when the server is killed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::figure::{Figures, Goal, Result, number, quantile};
use crate::host::{Host, Options, runtime};
use crate::load::{self, Sent, shots};
use crate::machine;

/// Measured deliveries, sent with [`AT_ONCE`] concurrent requests. With those of the warm-up they
/// fit into the inbox.
const MEASURED: usize = 9_000;
const AT_ONCE: usize = 64;
/// Deliveries before the measurement, to open connections and fill caches.
const WARM_UP: usize = 500;
/// The job of the first measured delivery; those of the warm-up have lower IDs.
pub(crate) const FIRST_JOB: i64 = 1_000_000;
/// Rate of the open loop per second, and its number of deliveries.
const RATE: u32 = 500;
const SCHEDULED: usize = 5_000;
/// Connections of the client that never finishes a request, and the rate of the deliveries beside it.
const HALF_SENT: usize = 600;
const RATE_BESIDE: u32 = 100;
const SCHEDULED_BESIDE: usize = 1_000;
const HALF_A_HEAD: &[u8] = b"POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
/// Its address; the deliveries come from 127.0.0.1.
const OTHER_CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
/// Kills of the server during deliveries at that rate, and the deliveries planned for each.
const KILLS: u32 = 6;
const UNTIL_KILLED: usize = 750;
/// The time for the replica that reads the inbox to make the runs.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        // This role neither polls nor reconciles, so the figures contain nothing else. It writes
        // every webhook into the inbox, so both have the goal of a durable write.
        for action in ["queued", "completed"] {
            let mut host = Host::new()?;
            host.start(Options { role: "ingest", ..Options::default() }).await?;
            cpu(figures, &host, "ingest", action, Goal::Most(60.0)).await?;
            host.stop()?;
        }
        latency(figures).await?;
        beside_half_sent_heads(figures).await?;
        killed(figures).await
    })
}

/// Measures the server's CPU time per webhook of this action, each about another job, and their
/// rate.
pub(crate) async fn cpu(
    figures: &mut Figures,
    host: &Host,
    group: &str,
    action: &str,
    goal: Goal,
) -> Result<()> {
    let url = host.url("/webhook")?;
    all_taken(&load::closed_loop(&url, shots(action, 1, WARM_UP)?, AT_ONCE).await?)?;
    let measured = shots(action, FIRST_JOB, MEASURED)?;
    let (before, began) = (machine::cpu(host.pid()?)?, Instant::now());
    let answers = load::closed_loop(&url, measured, AT_ONCE).await?;
    let (spent, took) = (machine::cpu(host.pid()?)?.saturating_sub(before), began.elapsed());
    all_taken(&answers)?;
    let each = spent.as_secs_f64() * 1e6 / number(MEASURED);
    figures.tell(&format!("{group}/cpu_{action}"), each, "us", goal);
    let rate = number(MEASURED) / took.as_secs_f64();
    figures.tell(&format!("{group}/rate_{action}"), rate, "1/s", Goal::Told);
    Ok(())
}

async fn latency(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    host.start(Options { role: "ingest", ..Options::default() }).await?;
    let url = host.url("/webhook")?;
    all_taken(&load::closed_loop(&url, shots("queued", 1, WARM_UP)?, 8).await?)?;
    let scheduled = shots("queued", FIRST_JOB, SCHEDULED)?;
    let before = machine::cpu(host.pid()?)?;
    let answers = load::open_loop(&url, scheduled, RATE).await?;
    let spent = machine::cpu(host.pid()?)?.saturating_sub(before);
    all_taken(&answers)?;
    let milliseconds = |share| quantile(&answers.latencies, share);
    figures.tell("ingest/p50_at_500", milliseconds(0.5), "ms", Goal::Told);
    figures.tell("ingest/p99_at_500", milliseconds(0.99), "ms", Goal::Most(50.0));
    figures.tell("ingest/max_at_500", milliseconds(1.0), "ms", Goal::Told);
    let each = spent.as_secs_f64() * 1e6 / number(SCHEDULED);
    figures.tell("ingest/cpu_at_500", each, "us", Goal::Told);
    host.stop()?;
    Ok(())
}

/// Measures deliveries while another address holds as many connections as it can with half a head.
async fn beside_half_sent_heads(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    host.start(Options { role: "ingest", ..Options::default() }).await?;
    let url = host.url("/webhook")?;
    all_taken(&load::closed_loop(&url, shots("queued", 1, WARM_UP)?, 8).await?)?;
    let server: SocketAddr =
        url.trim_start_matches("http://").trim_end_matches("/webhook").parse()?;
    let mut heads = JoinSet::new();
    for _ in 0..HALF_SENT {
        heads.spawn(half_sent_heads(server));
    }
    // Until each of them was accepted or refused.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let scheduled = shots("queued", FIRST_JOB, SCHEDULED_BESIDE)?;
    let answers = load::open_loop(&url, scheduled, RATE_BESIDE).await?;
    heads.shutdown().await;
    all_taken(&answers)?;
    let milliseconds = |share| quantile(&answers.latencies, share);
    let name = |of: &str| format!("ingest/{of}_beside_600_half_sent_heads");
    figures.tell(&name("p50"), milliseconds(0.5), "ms", Goal::Told);
    figures.tell(&name("p99"), milliseconds(0.99), "ms", Goal::Most(100.0));
    figures.tell(&name("max"), milliseconds(1.0), "ms", Goal::Told);
    host.stop()?;
    Ok(())
}

/// Sends half a head, holds the connection until the server closes it, and begins again.
async fn half_sent_heads(server: SocketAddr) {
    loop {
        // The server may refuse it, which is its right.
        if let Ok(mut stream) = connect_from(OTHER_CLIENT, server).await
            && stream.write_all(HALF_A_HEAD).await.is_ok()
        {
            let mut rest = [0; 512];
            while matches!(stream.read(&mut rest).await, Ok(1..)) {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connect_from(own: SocketAddr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(own)?;
    socket.connect(server).await
}

/// Kills the server repeatedly during a stream of webhooks, then reads every run whose delivery was
/// accepted.
async fn killed(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    let ingest = Options { role: "ingest", ..Options::default() };
    let mut accepted = Vec::new();
    for round in 0..KILLS {
        host.start(ingest).await?;
        let first = 1 + i64::from(round) * 1_000_000;
        let url = host.url("/webhook")?;
        let stream = shots("queued", first, UNTIL_KILLED)?;
        let firing = tokio::spawn(async move { load::open_loop(&url, stream, RATE).await });
        // Hits a different moment of a commit each time.
        tokio::time::sleep(Duration::from_millis(400) + Duration::from_micros(37_700) * round)
            .await;
        host.kill()?;
        accepted.extend(firing.await??.accepted);
    }
    host.start(Options { role: "reconcile", ..Options::default() }).await?;
    let mut lost = 0;
    let end = Instant::now() + TAKEN_WITHIN;
    for job in &accepted {
        let run = format!("/v1/runs/job-{job}");
        let mut there = host.has(&run).await?;
        while !there && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
            there = host.has(&run).await?;
        }
        lost += usize::from(!there);
    }
    figures.tell("ingest/accepted_before_kills", number(accepted.len()), "webhooks", Goal::Told);
    figures.tell("ingest/accepted_then_lost", number(lost), "webhooks", Goal::Nothing);
    host.stop()?;
    Ok(())
}

fn all_taken(sent: &Sent) -> Result<()> {
    match sent.refused {
        0 => Ok(()),
        refused => Err(format!("{refused} deliveries were not accepted").into()),
    }
}
