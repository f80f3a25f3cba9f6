//! Cold start of the program as an AWS Lambda function: from the start of the process to the
//! response to its first event. The runtime API is simulated on loopback.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::figure::{Figures, Goal, Result, quantile};
use crate::load;
use crate::machine;
use crate::region::{Options, Region, instant};
use crate::runtime_api::{Runtime, request};
use crate::server::runtime;

const STARTS: usize = 15;

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let mut region = Region::new(instant(40)).await?;
        // Creates the table, which is not part of a cold start.
        region.store().await?;
        // A health check, and a webhook whose job gets its machine before the response.
        cold(figures, &mut region, "lambda/cold_start", |_| {
            Ok(request("/healthz", &json!({"host": "x"}), b""))
        })
        .await?;
        cold(figures, &mut region, "lambda/cold_start_webhook", queued).await
    })
}

/// A function's process, killed on drop.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        // The process waits for its next event forever, and Lambda ends it with a kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn cold(
    figures: &mut Figures,
    region: &mut Region,
    name: &str,
    event: impl Fn(&Region) -> Result<Value>,
) -> Result<()> {
    let (mut spent, mut took) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (api, address) = Runtime::start(Duration::from_secs(30)).await;
        let event = event(region)?;
        let log = std::fs::File::create(region.log())?;
        let mut command = region.command("lambda", Options::default())?;
        lambda(&mut command, &address);
        let began = Instant::now();
        let function = Function(command.stderr(log).spawn()?);
        let answer = api.invoke(event).await.map_err(|error| error.to_string())?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        spent.push(machine::cpu_of_threads(function.0.id())?.as_secs_f64() * 1000.0);
        if !answer["statusCode"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
            return Err(format!("the function failed its first event: {answer}").into());
        }
    }
    figures.tell(&format!("{name}_cpu"), quantile(&spent, 0.5), "ms", Goal::Told);
    figures.tell(name, quantile(&took, 0.5), "ms", Goal::Told);
    Ok(())
}

/// Sets the variables that the Lambda runtime sets.
fn lambda(command: &mut Command, address: &str) {
    command
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "tinqs-ci")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
}

/// Returns the webhook of a queued job as a Function URL event.
fn queued(region: &Region) -> Result<Value> {
    let job = region.push(1, SignedDuration::ZERO).remove(0);
    let shot = load::shot(job, &region.queued(job)?)?;
    Ok(request("/webhook", &json!(shot.headers()), shot.body()))
}
