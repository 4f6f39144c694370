//! An embedded cluster in a thread of its own, so that what it allocates is not counted with the test's.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use milena::embedded::{Builder, EmbeddedCluster};
use tokio::{runtime, sync::oneshot};

/// Stops with its last handle here.
pub(crate) struct Aside {
    pub(crate) cluster: Arc<EmbeddedCluster>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Aside {
    #[allow(dead_code)] // not every test that shares this file needs all
    pub(crate) fn start(builder: Builder) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            let cluster = Arc::new(builder.start().await.expect("the cluster starts"));
            tell.send(cluster).expect("the test waits for it");
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || runtime().block_on(serve));
        let cluster = told.recv().expect("the cluster starts");
        Self { cluster, stop: Some(stop), thread: Some(thread) }
    }
}

impl Aside {
    /// The whole cluster is gone when this returns.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Everything in the thread that runs it.
pub(crate) fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
