//! `${{ }}` expressions, as far as the server evaluates them when it plans the jobs of a workflow
//! run.
//!
//! The evaluator is act's. If an expression is invalid, the whole text that holds it becomes empty;
//! if act's evaluator would panic, the whole file is rejected.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use super::Dialect;
use super::value::Value;

mod evaluate;
mod functions;
mod parse;

/// Longest text that an expression may produce, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Limit of the evaluation of one workflow: a text that is compared with a number is evaluated
/// itself, so the cost multiplies, and a matrix multiplies it once more.
#[derive(Debug)]
pub(super) struct Budget {
    steps: Cell<u32>,
}

impl Default for Budget {
    fn default() -> Self {
        // A job of a matrix takes some tens of steps; this many take a tenth of a second.
        Self { steps: Cell::new(2_000_000) }
    }
}

impl Budget {
    /// Charges one step, and more for a long text.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Fault> {
        let cost = u32::try_from(1 + bytes / 256).unwrap_or(u32::MAX);
        match self.steps.get().checked_sub(cost) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => halt("the expressions of the workflow take too long"),
        }
    }
}

/// The reason why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is invalid: the text around it becomes empty.
    Expression(String),
    /// The server would panic, or the expression is too large: no job can be planned.
    Halt(String),
}

/// The values that the expressions of one job can access.
#[derive(Clone, Debug)]
pub(super) struct Scope<'b> {
    pub(super) budget: &'b Budget,
    pub(super) dialect: Dialect,
    pub(super) github: Value,
    pub(super) vars: Value,
    pub(super) inputs: Value,
    pub(super) matrix: Value,
    pub(super) strategy: Value,
    pub(super) needs: Value,
    pub(super) status: Status,
}

/// The state of the status functions while a workflow run is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Outside of a job they are invalid.
    Outside,
    /// In a job without needs `success()` holds; in any other job nothing has succeeded yet.
    Needs(bool),
    /// A need that is no job, or a cycle of needs: the server panics.
    Broken,
}

impl Scope<'_> {
    /// Replaces the expressions of a text.
    pub(super) fn interpolate(&self, text: &str) -> Result<String, Fault> {
        self.budget.charge(text.len())?;
        if !holds_expression(text) {
            return Ok(text.to_owned());
        }
        match self.evaluate(text) {
            Ok(value) => Ok(value.coerced().as_ref().to_owned()),
            Err(Fault::Expression(_)) => Ok(String::new()),
            Err(halt) => Err(halt),
        }
    }

    /// Evaluates the expressions of a text, and returns an error for an invalid one.
    pub(super) fn check(&self, text: &str) -> Result<(), Fault> {
        self.budget.charge(text.len())?;
        if holds_expression(text) {
            self.evaluate(text)?;
        }
        Ok(())
    }

    fn evaluate(&self, text: &str) -> Result<Value, Fault> {
        let expression = as_format(text, self.dialect)?;
        Evaluator { scope: self, depth: Cell::new(0) }.evaluate(&expression)
    }
}

/// Whether a text has to be evaluated.
pub(super) fn holds_expression(text: &str) -> bool {
    text.contains("${{") && text.contains("}}")
}

/// Converts a text with expressions to one call of `format`. It finds expressions as the server
/// does and takes their content unchanged.
fn as_format(text: &str, dialect: Dialect) -> Result<String, Fault> {
    let mut template = String::new();
    let mut arguments: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${{") {
        template.push_str(&before.replace('{', "{{").replace('}', "}}"));
        let end = end_of_expression(behind, dialect)?;
        _ = write!(template, "{{{}}}", arguments.len());
        arguments.push(behind[..end].trim());
        rest = &behind[end + 2..];
    }
    template.push_str(&rest.replace('{', "{{").replace('}', "}}"));
    Ok(format!("format('{}', {})", template.replace('\'', "''"), arguments.join(", ")))
}

/// Finds the `}}` of an expression, skipping the texts in it.
fn end_of_expression(text: &str, dialect: Dialect) -> Result<usize, Fault> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        match (rest.find("}}"), rest.find('\'')) {
            (Some(end), None) => return Ok(at + end),
            (Some(end), Some(quote)) if end < quote => return Ok(at + end),
            (_, Some(quote)) => {
                at += quote + 1;
                at += match end_of_text(&text[at..]) {
                    Some(length) => length,
                    // Up to 1.25 the server panics.
                    None if dialect == Dialect::V1_25 => {
                        return halt("an expression holds an unclosed text");
                    }
                    None => return wrong("an expression holds an unclosed text"),
                };
            }
            (None, None) => return halt("an expression is not closed"),
        }
    }
}

/// The length of a text after its opening `'`, including the closing `'`; `''` is part of the text.
fn end_of_text(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let quote = at + text[at..].find('\'')?;
        if !text[quote + 1..].starts_with('\'') {
            return Some(quote + 1);
        }
        at = quote + 2;
    }
}

/// The evaluation of one text.
struct Evaluator<'s> {
    scope: &'s Scope<'s>,
    /// Nesting of evaluations.
    depth: Cell<u32>,
}

fn wrong<T>(why: &str) -> Result<T, Fault> {
    Err(Fault::Expression(why.to_owned()))
}

fn halt<T>(why: &str) -> Result<T, Fault> {
    Err(Fault::Halt(why.to_owned()))
}

/// Returns a text unless it is too long.
fn bounded(text: String) -> Result<Value, Fault> {
    if text.len() > LONGEST {
        return halt("an expression produces a text of more than a megabyte");
    }
    Ok(Value::Text(Arc::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(steps: u32) -> Budget {
        Budget { steps: Cell::new(steps) }
    }

    /// Returns the cost of evaluating a text.
    fn cost(text: &str, vars: &Value) -> u32 {
        let budget = budget(1_000_000);
        let nothing = || Value::Map(Arc::default());
        let scope = Scope {
            budget: &budget,
            dialect: Dialect::V1_27,
            github: nothing(),
            vars: vars.clone(),
            inputs: nothing(),
            matrix: nothing(),
            strategy: nothing(),
            needs: nothing(),
            status: Status::Outside,
        };
        scope.interpolate(text).expect("it is evaluated");
        1_000_000 - budget.steps.get()
    }

    #[test]
    fn a_step_costs_one_and_a_long_text_more() {
        let budget = budget(10);
        for (bytes, left) in [(0, 9), (255, 8), (256, 6), (1_000, 2), (257, 0)] {
            assert_eq!((budget.charge(bytes), budget.steps.get()), (Ok(()), left), "{bytes}");
        }
        assert!(matches!(budget.charge(0), Err(Fault::Halt(_))));
        assert_eq!(budget.steps.get(), 0);
    }

    #[test]
    fn each_part_of_an_expression_is_paid_for() {
        let long = Value::text("x".repeat(256 * 100));
        let vars = Value::Map(Arc::new([(Arc::from("l"), long)].into()));
        let of = |text: &str| cost(text, &vars);
        let least = of("${{ 1 }}");
        assert!(of("${{ 1 && 1 && 1 }}") >= least + 3, "each operand");
        let (once, twice) = (of("${{ vars.l == '' }}"), of("${{ vars.l == vars.l }}"));
        assert!((100..120).contains(&(once - least)), "the text: {once} and {least}");
        assert!((100..120).contains(&(twice - once)), "each of two texts: {twice} and {once}");
    }
}
