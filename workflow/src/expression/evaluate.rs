//! Evaluates the parts of an expression.

use super::parse::{Comparison, Expr, parse};
use super::{Evaluator, Fault, halt, wrong};
use crate::value::Value;

/// Deepest nesting of evaluations, which come from texts compared with numbers.
const DEEPEST: u32 = 8;

impl Evaluator<'_> {
    /// Evaluates an expression's text.
    pub(super) fn evaluate(&self, text: &str) -> Result<Value, Fault> {
        let depth = self.depth.get();
        if depth > DEEPEST {
            return halt("an expression evaluates itself");
        }
        self.depth.set(depth + 1);
        self.charge(text.len())?;
        let text = text.strip_prefix("${{").unwrap_or(text);
        let value = parse(text).and_then(|expr| self.value(&expr));
        self.depth.set(depth);
        value
    }

    pub(super) fn value(&self, expr: &Expr) -> Result<Value, Fault> {
        self.charge(0)?;
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Variable(name) => self.variable(name),
            Expr::Property(of, name) => self.property(&self.value(of)?, name),
            Expr::Index(of, index) => {
                let value = self.value(of)?;
                match (self.value(index)?, &value) {
                    (Value::Text(name), _) => self.property(&value, &name),
                    (Value::Int(at), Value::List(items)) => {
                        let item = usize::try_from(at).ok().and_then(|at| items.get(at));
                        Ok(item.cloned().unwrap_or(Value::Null))
                    }
                    _ => Ok(Value::Null),
                }
            }
            Expr::Each(of) => self.value(of).map(safe),
            Expr::Not(operand) => Ok(Value::Bool(!self.value(operand)?.is_truthy())),
            Expr::Compare(comparison, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.compare(*comparison, &left, &right).map(Value::Bool)
            }
            Expr::All(parts) => self.first(parts, false),
            Expr::Any(parts) => self.first(parts, true),
            Expr::Call(name, arguments) => {
                let arguments: Vec<Value> =
                    arguments.iter().map(|part| self.value(part)).collect::<Result<_, _>>()?;
                self.call(name, &arguments)
            }
        }
    }

    pub(super) fn charge(&self, bytes: usize) -> Result<(), Fault> {
        self.scope.budget.charge(bytes)
    }

    /// The first part whose truthiness is `truthy`, or the last part.
    fn first(&self, parts: &[Expr], truthy: bool) -> Result<Value, Fault> {
        let mut last = Value::Null;
        for part in parts {
            last = safe(self.value(part)?);
            if last.is_truthy() == truthy {
                break;
            }
        }
        Ok(last)
    }

    fn variable(&self, name: &str) -> Result<Value, Fault> {
        let scope = self.scope;
        match name {
            "github" | "gitea" => Ok(scope.github.clone()),
            "vars" => Ok(scope.vars.clone()),
            "inputs" => Ok(scope.inputs.clone()),
            "matrix" => Ok(scope.matrix.clone()),
            "strategy" => Ok(scope.strategy.clone()),
            "needs" => Ok(scope.needs.clone()),
            // Available to steps; empty while jobs are planned.
            "env" | "steps" | "runner" | "secrets" => Ok(Value::Map(std::sync::Arc::default())),
            "job" => Ok(Value::Record("*model.JobContext", false, std::sync::Arc::default())),
            "infinity" => Ok(Value::Float(f64::INFINITY)),
            "nan" => Ok(Value::Float(f64::NAN)),
            _ => wrong("unknown context"),
        }
    }

    fn property(&self, of: &Value, name: &str) -> Result<Value, Fault> {
        let same = |key: &str| key.to_lowercase() == name.to_lowercase();
        match of {
            Value::Map(entries) => {
                let found = entries.iter().find(|(key, _)| same(key));
                Ok(found.map_or(Value::Null, |(_, value)| value.clone()))
            }
            Value::OddMap(_) => wrong("a map whose keys are not texts"),
            Value::Record(_, true, fields) => {
                let found = fields.get(name).or_else(|| {
                    // By the name of the server's own field: `eventname` for `event_name`.
                    let found = fields.iter().find(|(key, _)| same(&key.replace('_', "")));
                    found.map(|(_, value)| value)
                });
                Ok(found.cloned().unwrap_or_else(|| Value::text("")))
            }
            Value::List(items) => {
                let values = items.iter().map(|item| {
                    self.charge(0)?;
                    self.property(item, name)
                });
                values.collect::<Result<Vec<_>, _>>().map(|values| Value::List(values.into()))
            }
            _ => Ok(Value::Null),
        }
    }

    /// Compares values of different kinds as numbers, and texts without case.
    pub(super) fn compare(
        &self,
        comparison: Comparison,
        left: &Value,
        right: &Value,
    ) -> Result<bool, Fault> {
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.charge(left.len() + right.len())?;
                Ok(holds(comparison, &left.to_lowercase(), &right.to_lowercase()))
            }
            // Two nulls compare as true under every operator.
            (Value::Null, Value::Null) => Ok(true),
            _ if same_kind(left, right) => wrong("values cannot be compared"),
            _ => {
                self.charge(0)?;
                Ok(holds(comparison, &self.number(left)?, &self.number(right)?))
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "so does the server")]
    fn number(&self, value: &Value) -> Result<f64, Fault> {
        match value {
            Value::Null => Ok(0.0),
            Value::Bool(value) => Ok(f64::from(u8::from(*value))),
            Value::Int(value) => Ok(*value as f64),
            Value::Float(value) => Ok(*value),
            Value::Text(text) if text.is_empty() => Ok(0.0),
            // A text is a number if it is an expression that evaluates to one.
            Value::Text(text) => match self.evaluate(text) {
                Ok(Value::Int(value)) => Ok(value as f64),
                Ok(Value::Float(value)) => Ok(value),
                Ok(_) | Err(Fault::Expression(_)) => Ok(f64::NAN),
                Err(halt) => Err(halt),
            },
            _ => Ok(f64::NAN),
        }
    }
}

/// Whether both are of one kind without order and without number.
fn same_kind(left: &Value, right: &Value) -> bool {
    let kind = |value: &Value| match value {
        Value::List(_) => 1,
        Value::Map(_) | Value::OddMap(_) => 2,
        // The server holds some of its structures by a pointer.
        Value::Record(name, ..) if name.starts_with('*') => 3,
        Value::Record(..) | Value::Time(_) => 4,
        _ => 0,
    };
    kind(left) != 0 && kind(left) == kind(right)
}

/// Turns a floating-point zero into an integer.
fn safe(value: Value) -> Value {
    if value == Value::Float(0.0) { Value::Int(0) } else { value }
}

fn holds<T: PartialOrd>(comparison: Comparison, left: &T, right: &T) -> bool {
    match comparison {
        Comparison::Less => left < right,
        Comparison::LessEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterEqual => left >= right,
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
    }
}
