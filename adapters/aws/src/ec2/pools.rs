//! The calls that read the prices of pools, and the zones of subnets.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{Filter, InstanceType, SpotPrice, Subnet};
use jiff::Timestamp;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::calls::{Calls, MOST_PAGES, kind, turn};
use crate::errors::{self, ec2 as codes};

/// The product whose prices are read: machines run Linux.
const PRODUCT: &str = "Linux/UNIX";
/// The most values of a filter.
const MOST_VALUES: usize = 200;

impl Calls {
    /// Returns the current spot prices of these kinds in every zone of the region.
    pub(super) async fn spot_prices(
        &self,
        kinds: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Vec<SpotPrice>, PortError> {
        let at = DateTime::from_secs(now.as_second());
        let kinds: Vec<InstanceType> =
            kinds.iter().map(|kind| InstanceType::from(kind.as_str())).collect();
        let (mut found, mut next) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            turn(&self.pace.describe, "prices").await?;
            // What begins and ends now is the price in force.
            let request = self.client.describe_spot_price_history();
            let request = request.set_instance_types(Some(kinds.clone()));
            let request = request.product_descriptions(PRODUCT).start_time(at).end_time(at);
            let request = request.set_next_token(next.clone());
            let answer = request.send().await;
            match &answer {
                Ok(_) => self.pace.describe.taken(),
                Err(error) => self.pace.describe.corrected(kind(error)),
            }
            let answer =
                answer.map_err(|e| errors::port_error("compute", "prices", &e, codes::TABLE))?;
            next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            found.extend(answer.spot_price_history.unwrap_or_default());
            if next.is_none() {
                return Ok(found);
            }
        }
        let message = format!("the list of prices does not end within {MOST_PAGES} pages");
        Err(PortError::new("compute", "prices", ErrorKind::Unavailable, message))
    }

    /// Returns the zones of these subnets, of those that exist. Asks for 200 at most.
    pub(super) async fn zones(
        &self,
        subnets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, String>, PortError> {
        turn(&self.pace.describe, "zones").await?;
        let ids = subnets.iter().take(MOST_VALUES).cloned().collect();
        let filter = Filter::builder().name("subnet-id").set_values(Some(ids)).build();
        let answer = self.client.describe_subnets().filters(filter).send().await;
        match &answer {
            Ok(_) => self.pace.describe.taken(),
            Err(error) => self.pace.describe.corrected(kind(error)),
        }
        let answer =
            answer.map_err(|e| errors::port_error("compute", "zones", &e, codes::TABLE))?;
        let zone = |subnet: &Subnet| {
            Some((subnet.subnet_id()?.to_owned(), subnet.availability_zone()?.to_owned()))
        };
        Ok(answer.subnets().iter().filter_map(zone).collect())
    }
}
