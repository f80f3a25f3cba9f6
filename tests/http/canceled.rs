//! The note about a canceled job's machine that is still up: shown, never stored.

use serde_json::Value;
use tinqs_ci_reconciler::model::{About, MachineState, Outcome, Phase};
use tinqs_ci_reconciler::ports::Compute as _;

use crate::api::attempt;
use crate::asking::{TestServer, settings};
use crate::world::{add_run, name};

#[tokio::test]
async fn a_canceled_run_shows_its_machine_until_that_has_ended() {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 1, About::default());
    let machine = asked.world.launch(&run.attempt_id(1), 0, &attempt(&run)).await.expect("up");
    {
        let mut state = asked.world.state();
        let status = &mut state.runs.get_mut(&name(1)).expect("a run").status;
        (status.phase, status.outcome) = (Phase::Finished, Some(Outcome::Cancelled));
        status.runner = Some(run.attempt_id(1).to_string());
        status.finished_at = Some(run.created_at);
    }
    let conditions = async || {
        asked.get("/v1/machines").await;
        let one = asked.get("/v1/runs/job-1").await.json()["status"]["conditions"].clone();
        let listed = asked.get("/v1/runs").await.json()["items"][0]["status"]["conditions"].clone();
        assert_eq!(one, listed);
        one
    };
    let shown = conditions().await;
    assert_eq!(shown[0]["reason"], "Cancelled", "{shown}");
    let message = shown[0]["message"].as_str().expect("text");
    assert!(
        message.contains(&machine.id.to_string()) && message.contains("ends itself"),
        "{shown}"
    );
    let why = async || asked.get("/v1/why?what=job-1").await.json()["job"].clone();
    let told = why().await;
    assert_eq!((&told["reason"], &told["state"]), (&"Cancelled".into(), &shown[0]["message"]));
    assert_eq!(told["since"], shown[0]["since"], "{told}");
    assert!(asked.world.state().runs[&name(1)].status.conditions.is_empty(), "it is not stored");
    asked.world.state().machines[0].state = MachineState::Gone;
    assert!(conditions().await.is_null());
    let told = why().await;
    assert_eq!((&told["reason"], &told["state"]), (&Value::Null, &"the job was canceled".into()));
}
