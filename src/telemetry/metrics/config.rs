//! The families of the configuration in force.

use jiff::Timestamp;
use prometheus::{Gauge, GaugeVec, Registry};

use super::super::families as f;
use super::register::{gauge, gauges};
use super::seconds;

/// The families of the configuration in force.
pub struct ConfigMetrics {
    info: GaugeVec,
    successful: Gauge,
    at: Gauge,
    certificate: GaugeVec,
}

impl ConfigMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            info: gauges(registry, f::CONFIG_INFO),
            successful: gauge(registry, f::CONFIG_LOADED),
            at: gauge(registry, f::CONFIG_LOADED_AT),
            certificate: gauges(registry, f::TLS_EXPIRY),
        }
    }

    /// Shows that the configuration was loaded.
    pub fn loaded(&self, at: Timestamp) {
        self.successful.set(1.0);
        self.at.set(seconds(at));
    }

    /// Shows the hash of the configuration in force.
    pub fn named(&self, hash: &str) {
        self.info.reset();
        self.info.with_label_values(&[hash]).set(1.0);
    }

    /// Shows when the server's certificate expires; without one there is no series.
    pub fn certificate(&self, expires_at: Option<Timestamp>) {
        match expires_at {
            Some(at) => self.certificate.with_label_values::<&str>(&[]).set(seconds(at)),
            None => self.certificate.reset(),
        }
    }

    /// Shows that the last load failed, so that the former configuration stays in force.
    pub fn failed(&self) {
        self.successful.set(0.0);
    }
}
