//! Parses queries and finds what they read.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::label::MatchOp;
use promql_parser::parser::{AggregateExpr, Expr, LabelModifier, VectorSelector, parse};

use crate::registry::Registry;

/// Functions of a counter's growth.
const OF_GROWTH: [&str; 3] = ["rate", "increase", "irate"];

/// The families, windows and labels that a query reads.
#[derive(Default)]
pub(crate) struct Reads {
    /// The families.
    pub(crate) families: BTreeSet<String>,
    /// The windows of functions over time.
    pub(crate) windows: BTreeSet<Duration>,
    /// For each selector: the label and the value of each of its matchers.
    pub(crate) matchers: Vec<Vec<(String, String)>>,
    /// The labels of the result; `None` if that is not known.
    pub(crate) labels: Option<BTreeSet<String>>,
    /// The problem.
    pub(crate) wrong: Vec<String>,
}

/// Parses a query and checks what it reads against the registry.
pub(crate) fn reads(query: &str, registry: &Registry) -> Reads {
    let mut reads = Reads::default();
    match parse(query) {
        Ok(expression) => reads.labels = reads.walk(&expression, None, registry),
        Err(error) => reads.wrong.push(format!("does not parse: {error}")),
    }
    reads
}

impl Reads {
    /// Walks an expression and returns the labels of its result, if they are known.
    fn walk(
        &mut self,
        expression: &Expr,
        function: Option<&str>,
        registry: &Registry,
    ) -> Option<BTreeSet<String>> {
        match expression {
            Expr::VectorSelector(selector) => self.selector(selector, function, registry),
            Expr::MatrixSelector(selector) => {
                self.windows.insert(selector.range);
                self.selector(&selector.vs, function, registry)
            }
            Expr::Call(call) => {
                let name = call.func.name;
                let arguments = call.args.args.iter();
                let of_arguments = arguments.map(|one| self.walk(one, Some(name), registry));
                let labels = of_arguments.collect::<Vec<_>>().into_iter().flatten().reduce(union);
                let labels = labels?;
                // Its result has no buckets any more.
                let is_quantile = name == "histogram_quantile";
                Some(labels.into_iter().filter(|label| !is_quantile || label != "le").collect())
            }
            Expr::Aggregate(aggregation) => self.aggregation(aggregation, registry),
            Expr::Binary(binary) => {
                let left = self.walk(&binary.lhs, None, registry);
                let right = self.walk(&binary.rhs, None, registry);
                match (left, right) {
                    (Some(left), Some(right)) => Some(union(left, right)),
                    (left, right) => left.or(right),
                }
            }
            Expr::Paren(inner) => self.walk(&inner.expr, None, registry),
            Expr::Unary(inner) => self.walk(&inner.expr, None, registry),
            Expr::Subquery(inner) => self.walk(&inner.expr, None, registry),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
        }
    }

    fn aggregation(
        &mut self,
        aggregation: &AggregateExpr,
        registry: &Registry,
    ) -> Option<BTreeSet<String>> {
        let inner = self.walk(&aggregation.expr, None, registry)?;
        let Some(modifier) = &aggregation.modifier else { return Some(BTreeSet::new()) };
        let named: BTreeSet<String> = modifier.labels().labels.iter().cloned().collect();
        let unknown: Vec<&String> = named.difference(&inner).collect();
        if !unknown.is_empty() {
            self.wrong.push(format!("aggregates by {unknown:?}, of {inner:?}"));
        }
        Some(match modifier {
            LabelModifier::Include(_) => named,
            LabelModifier::Exclude(_) => inner.difference(&named).cloned().collect(),
        })
    }

    fn selector(
        &mut self,
        selector: &VectorSelector,
        function: Option<&str>,
        registry: &Registry,
    ) -> Option<BTreeSet<String>> {
        let Some(series) = &selector.name else {
            self.wrong.push("a selector has no name".to_owned());
            return None;
        };
        if series.starts_with("tinqs_ci:") {
            // Recorded by a rule.
            return None;
        }
        let Some((family, is_bucket)) = registry.of_series(series) else {
            self.families.insert(series.clone());
            self.wrong.push(format!("{series} is not exported"));
            return None;
        };
        self.families.insert(family.name.clone());
        if family.grows() && !function.is_some_and(|function| OF_GROWTH.contains(&function)) {
            self.wrong.push(format!("{series} only grows: read its rate"));
        }
        let labels = family.labels(is_bucket);
        let mut matchers = Vec::new();
        for matcher in &selector.matchers.matchers {
            matchers.push((matcher.name.clone(), matcher.value.clone()));
            if !labels.contains(&matcher.name) {
                self.wrong.push(format!("{series} has no label {}", matcher.name));
            }
            let Some(values) = family.values(&matcher.name) else { continue };
            let has = |wanted: &str| values.iter().any(|value| value == wanted);
            let unknown: Vec<&str> = match &matcher.op {
                MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
                MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
            };
            for value in unknown.into_iter().filter(|value| !has(value)) {
                self.wrong.push(format!("{series}: the label {} is never {value}", matcher.name));
            }
        }
        self.matchers.push(matchers);
        Some(labels)
    }
}

fn union(mut left: BTreeSet<String>, right: BTreeSet<String>) -> BTreeSet<String> {
    left.extend(right);
    left
}

#[test]
fn mistakes_of_queries_are_found() {
    let registry = Registry::read();
    for (query, mistake) in [
        ("sum(tinqs_ci_drift", "does not parse"),
        ("sum(tinqs_ci_nothing)", "tinqs_ci_nothing is not exported"),
        ("sum(tinqs_ci_reconcile_total)", "only grows"),
        ("rate(tinqs_ci_job_wait_duration_seconds[5m])", "is not exported"),
        ("tinqs_ci_leader{class=\"linux\"}", "has no label class"),
        ("tinqs_ci_jobs{status=\"asleep\"}", "is never asleep"),
        ("tinqs_ci_jobs{status=~\"waiting|asleep\"}", "is never asleep"),
        ("sum by (queue) (tinqs_ci_jobs)", "aggregates by"),
        ("sum by (le) (rate(tinqs_ci_job_wait_duration_seconds_sum[5m]))", "aggregates by"),
    ] {
        let reads = reads(query, &registry);
        assert!(
            reads.wrong.iter().any(|wrong| wrong.contains(mistake)),
            "{query}: {:?}",
            reads.wrong
        );
    }
    let right = "histogram_quantile(0.95, sum by (class, le) \
                 (rate(tinqs_ci_job_wait_duration_seconds_bucket{job=\"t\"}[5m])))";
    let reads = reads(right, &registry);
    assert_eq!(reads.wrong, [] as [String; 0]);
    assert_eq!(reads.labels, Some(BTreeSet::from(["class".to_owned()])));
    assert_eq!(reads.windows, BTreeSet::from([Duration::from_mins(5)]));
    assert_eq!(reads.matchers, [[("job".to_owned(), "t".to_owned())]]);
}
