//! temporary
#[tokio::main]
async fn main() {
    let path = std::env::args().nth(3).unwrap();
    let env: tinqs_ci::config::Env = std::env::vars().collect();
    let loaded = tinqs_ci::config::load(Some(std::path::Path::new(&path)), &env).unwrap_or_else(|e| { eprintln!("{e}"); std::process::exit(2) });
    tinqs_ci::telemetry::init(std::env::var("TINQS_CI_LOG").ok().as_deref(), "x");
    if let Err(e) = tinqs_ci::serve::run(loaded.settings, tinqs_ci::serve::Role::All, std::env::vars_os()).await { eprintln!("{e:?}"); std::process::exit(1) }
}
