//! The page of a training that goes on.

use std::path::PathBuf;

use fer_train::{BoxError, Callback, Control};

use crate::page::Page;
use crate::write_file;

/// Writes the page after each epoch, for whoever looks at it meanwhile.
pub(super) struct Watch {
    pub path: PathBuf,
    pub page: Page,
}

impl Callback for Watch {
    fn name(&self) -> &str {
        "Watch"
    }

    fn on_epoch_end(&mut self, control: &mut Control) -> Result<(), BoxError> {
        self.page.history.clone_from(&control.history.epochs);
        let done = control.history.epochs.len();
        self.page.subtitle =
            format!("epoch {done} of at most {}; the page reads itself again", control.epochs);
        Ok(write_file(&self.path, self.page.html(true))?)
    }
}
