//! Plans the jobs of one entry under `jobs`: its matrix, its contexts, its names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::matrix::{self, Combination};
use super::{Context, Initial, JobsError, JobsProblem, MOST_JOBS, PlannedJob, runs_on, stored};
use crate::Dialect;
use crate::expression::{Budget, Fault, Scope, Status, holds_expression};
use crate::fields::Fields;
use crate::value::Value;
use crate::yaml::{Kind, Node};

/// Most bytes of the names and labels of one workflow's jobs.
const BYTES: usize = 16 * 1024 * 1024;

/// The jobs so far, and the bytes of their texts.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) jobs: Vec<PlannedJob>,
    bytes: usize,
}

/// One job as written.
pub(super) struct Source<'n> {
    pub(super) id: &'n str,
    pub(super) line: usize,
    pub(super) node: &'n Node,
    pub(super) fields: Fields<'n>,
    pub(super) needs: Vec<String>,
}

impl Source<'_> {
    /// The text of a field; empty if there is none.
    fn text(&self, key: &str) -> &str {
        let node = self.fields.get(key).map(Node::resolved).filter(|node| !node.is_null());
        node.and_then(Node::as_str).unwrap_or_default()
    }
}

/// State shared by all jobs of a workflow.
pub(super) struct Planner<'s> {
    dialect: Dialect,
    github: Value,
    vars: Value,
    inputs: Value,
    needs: HashMap<&'s str, &'s [String]>,
    /// An empty context, built once.
    nothing: Value,
    budget: Budget,
}

impl<'s> Planner<'s> {
    pub(super) fn new(context: &Context, sources: &'s [Source<'_>], dialect: Dialect) -> Self {
        let key = |name: &str| Arc::<str>::from(name);
        let github = context.github.iter().map(|(name, value)| match value {
            serde_json::Value::String(_) => (key(name), Value::from_json(value)),
            serde_json::Value::Object(_) if name == "event" => (key(name), Value::from_json(value)),
            // The server's structure holds texts and the event.
            _ => (key(name), Value::text("")),
        });
        let vars =
            context.vars.iter().map(|(name, value)| (key(name), Value::text(value.as_str())));
        let inputs =
            context.inputs.iter().map(|(name, value)| (key(name), Value::from_json(value)));
        Self {
            dialect,
            github: Value::Record("*model.GithubContext", true, Arc::new(github.collect())),
            vars: Value::Map(Arc::new(vars.collect())),
            inputs: Value::Map(Arc::new(inputs.collect())),
            needs: sources.iter().map(|source| (source.id, source.needs.as_slice())).collect(),
            nothing: Value::Map(Arc::default()),
            budget: Budget::default(),
        }
    }

    /// The scope outside of a job.
    pub(super) fn outside(&self) -> Scope<'_> {
        Scope {
            budget: &self.budget,
            dialect: self.dialect,
            github: self.github.clone(),
            vars: self.vars.clone(),
            inputs: self.inputs.clone(),
            matrix: self.nothing.clone(),
            strategy: self.nothing.clone(),
            needs: self.nothing.clone(),
            status: Status::Outside,
        }
    }

    /// Adds the jobs of one entry.
    pub(super) fn plan(&self, source: &Source<'_>, plan: &mut Plan) -> Result<(), JobsError> {
        let strategy = source.fields.get("strategy");
        let strategy = match strategy.filter(|node| !node.resolved().is_null()) {
            Some(node) => Some(Fields::read(node)?),
            None => None,
        };
        let matrix = strategy.as_ref().and_then(|strategy| strategy.get("matrix"));
        let combinations = matrix::combinations(matrix, self.dialect)
            .map_err(|why| why.at(matrix.unwrap_or(source.node)))?;
        if plan.jobs.len() + combinations.len() > MOST_JOBS {
            return Err(JobsProblem::TooMany.at(source.node));
        }
        let mut scope = self.outside();
        if let Some(strategy) = &strategy {
            scope.strategy = strategy_context(strategy);
        }
        if !source.needs.is_empty() {
            scope.needs = self.needs_context(source);
        }
        scope.status = self.status(source);
        let labels = runs_on::labels(source.fields.get("runs-on"));
        let readable = stored::can_be_read(source.node, self.dialect)?;
        for (index, (combination, suffix)) in combinations.into_iter().enumerate() {
            let mut job = self
                .job(source, &labels, index, (combination, &suffix), &mut scope)
                .map_err(|fault| JobsProblem::from(fault).at(source.node))?;
            job.dispatched &= readable;
            plan.bytes += job.name.len();
            plan.bytes += job.runs_on.iter().chain(&job.needs).map(String::len).sum::<usize>();
            if plan.bytes > BYTES {
                return Err(JobsProblem::TooLarge.at(source.node));
            }
            plan.jobs.push(job);
        }
        Ok(())
    }

    fn job(
        &self,
        source: &Source<'_>,
        labels: &[String],
        matrix_index: usize,
        (combination, suffix): (Combination, &str),
        scope: &mut Scope<'_>,
    ) -> Result<PlannedJob, Fault> {
        let name = match source.text("name") {
            "" => source.id,
            name => name,
        };
        let alone = combination.is_empty();
        scope.matrix = if alone { self.nothing.clone() } else { Value::Map(Arc::new(combination)) };
        // Without a matrix the name stays as written, including expressions.
        let name = if alone {
            name.to_owned()
        } else if holds_expression(name) {
            scope.interpolate(name)?
        } else {
            [name, suffix].concat()
        };
        let runs_on = labels.iter().map(|label| scope.interpolate(label));
        let runs_on = stored::labels(runs_on.collect::<Result<_, _>>()?, scope.dialect);
        if scope.dialect == Dialect::V1_27
            && let Some(node) = source.fields.get("continue-on-error")
        {
            check_scalars(node, scope)?;
        }
        let uses = Some(source.text("uses")).filter(|uses| !uses.is_empty());
        let blocked = !source.needs.is_empty();
        Ok(PlannedJob {
            job_id: source.id.to_owned(),
            name: stored::text(&name, scope.dialect).to_owned(),
            matrix_index,
            runs_on,
            needs: source.needs.clone(),
            initial: if blocked { Initial::Blocked } else { Initial::Waiting },
            dispatched: uses.is_none() || scope.dialect < Dialect::V1_27,
            uses: uses.map(str::to_owned),
            line: source.line,
        })
    }

    /// The needs that are jobs; they have no result yet.
    fn needs_context(&self, source: &Source<'_>) -> Value {
        let needed_jobs = source.needs.iter().filter(|need| self.needs.contains_key(need.as_str()));
        let entries = needed_jobs.map(|need| {
            let outputs = (Arc::from("outputs"), Value::Map(Arc::default()));
            let result = (Arc::from("result"), Value::text(""));
            let fields = Arc::new(BTreeMap::from([outputs, result]));
            (Arc::from(need.as_str()), Value::Record("exprparser.Needs", true, fields))
        });
        Value::Map(Arc::new(entries.collect()))
    }

    /// Follows the needs of a job as the status functions do.
    fn status(&self, source: &Source<'_>) -> Status {
        if source.needs.is_empty() {
            return Status::Needs(true);
        }
        // Depth first, with the nodes on the current path kept separately: meeting one of them is a
        // cycle.
        let (mut on_the_way, mut done) = (HashSet::new(), HashSet::new());
        let mut stack = vec![(source.id, false)];
        while let Some((id, left)) = stack.pop() {
            if left {
                on_the_way.remove(id);
                done.insert(id);
                continue;
            }
            if done.contains(id) {
                continue;
            }
            let Some(needs) = self.needs.get(id).filter(|_| on_the_way.insert(id)) else {
                return Status::Broken;
            };
            stack.push((id, true));
            stack.extend(needs.iter().map(|need| (need.as_str(), false)));
        }
        Status::Needs(false)
    }
}

/// Checks each text of a part that the server evaluates as a whole.
fn check_scalars(node: &Node, scope: &Scope<'_>) -> Result<(), Fault> {
    match &node.kind {
        Kind::Scalar { text, .. } => scope.check(text),
        Kind::Sequence(items) => items.iter().try_for_each(|item| check_scalars(item, scope)),
        Kind::Mapping(entries) => entries.iter().try_for_each(|(key, value)| {
            check_scalars(value, scope)?;
            check_scalars(key, scope)
        }),
        Kind::Alias(_) => Ok(()),
    }
}

/// The `strategy` context; the strategy itself is not evaluated.
fn strategy_context(strategy: &Fields<'_>) -> Value {
    let text = |key: &str| {
        let node = strategy.get(key).map(Node::resolved).filter(|node| !node.is_null());
        node.and_then(Node::as_str).unwrap_or_default()
    };
    let fail_fast = matches!(text("fail-fast"), "" | "1" | "t" | "T" | "true" | "TRUE" | "True");
    let max_parallel = match text("max-parallel") {
        "" => 4,
        number => number.parse::<i64>().unwrap_or(0),
    };
    Value::Map(Arc::new(BTreeMap::from([
        (Arc::from("fail-fast"), Value::Bool(fail_fast)),
        (Arc::from("max-parallel"), Value::Int(max_parallel.into())),
    ])))
}
