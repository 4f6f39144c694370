//! Stub.

//TEMP
#[derive(Debug)]
pub struct Consumer;
#[derive(Debug)]
pub struct ConsumerBuilder;
impl ConsumerBuilder {
    pub(crate) fn new(_: crate::cluster::Cluster) -> Self {
        Self
    }
    pub fn settings(self, _: crate::properties::ConsumerSettings) -> Self {
        self
    }
}
