//! `DescribeInstances`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::{MachineId, MachineState};

use super::error::Fault;
use super::filter::{Filters, Subject};
use super::ids::{impaired, not_found, unavailable, well_formed};
use super::instance::{groups, instance};
use super::outcome::Outcome;
use super::params::Params;
use super::state::{Shared, State};
use super::xml::{Element, leaf, list};
use crate::aws_wire::ReadFault;

/// Maximum IDs of a call.
const MOST_IDS: usize = 1_000;

struct Page {
    /// The time that the reading shows.
    at: Timestamp,
    from: String,
    number: u64,
}

pub(super) fn describe(shared: &Shared, params: &Params, read_fault: &ReadFault) -> Outcome {
    let now = shared.options.now();
    let mut state = shared.state();
    let bare = params.members("Filter").is_empty()
        && params.members("InstanceId").is_empty()
        && params.get("MaxResults").is_none();
    let bucket = if bare { "DescribeInstances unfiltered" } else { "DescribeInstances" };
    if !state.buckets.take(now, bucket, 0) {
        return Outcome::throttled();
    }
    if params.members("Filter").is_empty() && params.members("InstanceId").is_empty() {
        state.breaks("no unfiltered Describe", "DescribeInstances with neither filter nor id");
    }
    match page(shared, &state, params, read_fault, now) {
        Ok((parts, items)) => Outcome::of(parts, items).taking((1, 0)),
        Err(fault) => Outcome::from(fault).taking((1, 0)),
    }
}

fn page(
    shared: &Shared,
    state: &State,
    params: &Params,
    read_fault: &ReadFault,
    now: Timestamp,
) -> Result<(Vec<Element>, usize), Fault> {
    let ids = params.list("InstanceId");
    let most = params.number("MaxResults")?;
    if !ids.is_empty() && (most.is_some() || params.get("NextToken").is_some()) {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(Fault::new("InvalidParameterCombination", message));
    }
    if let Some(most) = most.filter(|most| !(5..=1000).contains(most)) {
        return Err(Fault::value("MaxResults", &most.to_string()));
    }
    if ids.len() > MOST_IDS {
        return Err(Fault::new("InvalidParameterValue", format!("more than {MOST_IDS} ids")));
    }
    let filters = Filters::read(params)?;
    let page = cursor(params, state.read_at(now, read_fault.stale))?;
    if read_fault.page_error == Some(page.number) {
        return Err(Fault::new("InternalError", "simulated: this page fails"));
    }
    ids.iter().try_for_each(|id| well_formed(id))?;
    let named: BTreeSet<MachineId> = ids.iter().map(|id| MachineId((*id).to_owned())).collect();
    if (ids.is_empty() && !state.impaired.is_empty()) || named.iter().any(|i| impaired(state, i)) {
        return Err(unavailable());
    }
    let mut seen = seen(shared, state, now, read_fault, &filters, &named);
    if !named.is_empty() {
        let unseen =
            |id: &&str| state.seen(now, &MachineId((*id).to_owned()), read_fault.stale).is_none();
        let missing: Vec<&str> = ids.iter().copied().filter(unseen).collect();
        if !missing.is_empty() {
            return Err(not_found(&missing));
        }
    }
    if read_fault.omit && !seen.is_empty() {
        let count = u64::try_from(seen.len()).unwrap_or(1);
        seen.remove(usize::try_from(read_fault.draw % count).unwrap_or_default());
    }
    Ok(reservations(shared, state, params, &seen, most, &page))
}

/// Returns the matching machines, oldest reservation first.
fn seen(
    shared: &Shared,
    state: &State,
    now: Timestamp,
    read_fault: &ReadFault,
    filters: &Filters,
    named: &BTreeSet<MachineId>,
) -> Vec<(MachineId, MachineState)> {
    let at = state.read_at(now, read_fault.stale);
    let all = state.records.iter().filter_map(|(id, record)| {
        let zone = state.cloud.zone(&record.recipe.subnet);
        let asked = named.is_empty() || named.contains(id);
        if !asked || read_fault.omit_zones.iter().any(|omitted| omitted == zone) {
            return None;
        }
        let seen = state.seen(now, id, read_fault.stale)?;
        let account = &shared.options.account;
        let tags = state.tags(&shared.options, at, id);
        let subject = Subject { id, record, state: seen, zone, account, tags };
        filters.fit(&subject).then(|| (id.clone(), seen))
    });
    all.collect()
}

fn reservations(
    shared: &Shared,
    state: &State,
    params: &Params,
    seen: &[(MachineId, MachineState)],
    most: Option<usize>,
    page: &Page,
) -> (Vec<Element>, usize) {
    let account = &shared.options.account;
    let mut grouped: BTreeMap<&str, Vec<&(MachineId, MachineState)>> = BTreeMap::new();
    for one in seen {
        if let Some(record) = state.records.get(&one.0) {
            grouped.entry(record.reservation.as_str()).or_default().push(one);
        }
    }
    let left: Vec<_> = grouped.into_iter().filter(|(id, _)| *id > page.from.as_str()).collect();
    let count = most.unwrap_or(left.len()).min(left.len());
    let (now, later) = left.split_at(count);
    let items = now.iter().map(|(id, members)| {
        let first = members.first().and_then(|(id, _)| state.records.get(id));
        let shown = |(id, seen): &&(MachineId, MachineState)| {
            instance(state, &shared.options, page.at, id, *seen)
        };
        let instances = members.iter().filter_map(shown);
        let mut parts = vec![leaf("reservationId", id), leaf("ownerId", &account.id)];
        parts.extend(first.map(|record| groups(account, &record.recipe)));
        parts.push(list("instancesSet", instances.collect::<Vec<_>>()));
        parts
    });
    let mut parts = vec![list("reservationSet", items.collect::<Vec<_>>())];
    if let Some((last, _)) = now.last().filter(|_| !later.is_empty()) {
        let text = format!("{} {} {last}", digest(params), page.number + 1);
        parts.push(leaf("nextToken", BASE64_URL_SAFE_NO_PAD.encode(text)));
    }
    (parts, now.iter().map(|(_, members)| members.len()).sum())
}

/// Binds a cursor to the query that produced it.
fn digest(params: &Params) -> String {
    let text = params.text_without(&["NextToken", "MaxResults"]);
    hex::encode(&Sha256::digest(text)[..8])
}

fn cursor(params: &Params, at: Timestamp) -> Result<Page, Fault> {
    let Some(token) = params.get("NextToken") else {
        return Ok(Page { at, from: String::new(), number: 1 });
    };
    let read = || {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut parts = text.split(' ');
        let (of, number, from) = (parts.next()?, parts.next()?, parts.next()?);
        let page = Page { at, from: from.to_owned(), number: number.parse().ok()? };
        (of == digest(params)).then_some(page)
    };
    read().ok_or_else(|| Fault::new("InvalidNextToken", "The token is not of this question"))
}
