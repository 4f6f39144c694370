//! The embedded broker and registry on threads of their own.

use milena::embedded::EmbeddedCluster;
use tokio::runtime::{Builder, Runtime};

use super::cpu::EMBEDDED;
use crate::failure::Failure;

/// Running servers.
pub(crate) struct Servers {
    runtime: Runtime,
    cluster: EmbeddedCluster,
}

impl Servers {
    pub(crate) fn start() -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name(EMBEDDED).build()?;
        let builder = EmbeddedCluster::builder().with_registry();
        let cluster = runtime.block_on(builder.start())?;
        Ok(Self { runtime, cluster })
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.cluster.bootstrap()
    }

    pub(crate) fn registry_url(&self) -> String {
        self.cluster.registry_url()
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.cluster.shutdown());
        self.runtime.shutdown_background();
    }
}
