//! Nothing: only the features in the manifest matter.
