//! Opening: the lock, the file, the books, and the thread that owns them from then on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, watch};

use crate::file::{Opened, Place};
use crate::handle::{CHANNEL, Queue};
use crate::lock;
use crate::owner::Owner;
use crate::store::Store;
use crate::types::{ErrorKind, Moment, OpenReport, Options, QueueError, View};
use crate::writer::{Ends, Opening, Writer, load};

/// Opens the queue of a directory (made with mode 0700 where it is missing) and starts its writer thread.
///
/// # Errors
///
/// `Busy`, `Passing`: another process owns it. `NewerSchema`: the file is left untouched. `Denied`: permissions, or files of
/// another user. `DiskFull`, `Io`. A corrupt file is no error: see [`OpenReport::set_aside`].
pub fn open(options: Options, at: Moment) -> Result<(Queue, Owner, OpenReport), QueueError> {
    let place = Place::new(&options.directory, options.boot_id, options.probe);
    place.prepare()?;
    let lock = lock::take(&options.directory, options.job)?;
    let Opened {
        connection,
        boot,
        mut report,
    } = place.open(at)?;
    let mut store = Store::new(connection, options.limits, boot, at);
    store.probe = options.probe;
    load(&mut store, &place, &mut report, at)?;
    if store.is_over_age()
        && let Err(error) = store.transaction(Store::age_out)
    {
        tracing::warn!(error = %error, "cannot yet erase what has become too old");
    }
    let (commands, receiver) = mpsc::channel(CHANNEL);
    let (view_sender, view) = watch::channel(Arc::new(View::default()));
    let closing = Arc::new(AtomicBool::new(false));
    let file = Arc::from(place.file.as_path());
    let ends = Ends {
        commands: receiver,
        to_self: commands.downgrade(),
        view: view_sender,
        closing: Arc::clone(&closing),
    };
    let opening = Opening {
        unclean: report.unclean,
        job: options.job,
    };
    let writer = Writer::new(store, place, lock, ends, opening);
    let thread = std::thread::Builder::new()
        .name("queue-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(|error| QueueError {
            kind: ErrorKind::Io,
            attempt: "cannot start the queue's thread".to_owned(),
            source: Some(Box::new(error)),
        })?;
    let queue = Queue {
        commands: commands.clone(),
        view,
        file,
    };
    Ok((
        queue,
        Owner {
            commands,
            closing,
            thread,
        },
        report,
    ))
}
