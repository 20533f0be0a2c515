//! The daemon's life: what is constructed, in which order, what is spawned, and how it ends. Nothing else
//! spawns a task, but for the two sets that are handed down: connections ([`crate::ingest`]) and flushers
//! ([`crate::flush`]), which end with the task that holds them; and the gateway ([`crate::gateway`]), whose thread comes and
//! goes with its setting.

mod keep;
mod rooms;

use std::sync::Arc;
use std::time::Duration;

use telemetry_queue::{ErrorKind, OpenReport, Owner, Queue};
use tracing::{error, info, warn};

pub use self::keep::Keep;
pub use self::rooms::Rooms;
use crate::config::{Checked, Loaded};
use crate::consent::Known;
use crate::failure::Failure;
use crate::phase::{Phase, reached};
use crate::signals::{Early, Listener, Signal, unheard};
use crate::world::World;
use crate::{background, gateway, ingest, log, notify, socket, spool, state_dir, withdrawals};

/// What the queue is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For as long as the daemon lives.
    Daemon,
    /// For one job of those that need no daemon.
    Job,
}

/// Opens the queue: takes the lock, salvages what has to be. Who holds the lock for one job (a withdrawal without a daemon
/// is one) is waited for, for as long as this process `goes_on`.
///
/// # Errors
/// When another daemon owns it, or anybody for too long; it is of a newer version, or the system says no.
pub fn open_queue(
    world: &World,
    checked: &Checked,
    purpose: Purpose,
    goes_on: impl Fn() -> bool,
) -> Result<(Queue, Owner, OpenReport), Failure> {
    if world.moved.is_some() {
        state_dir::take(&world.places.state, world.uid)?;
    }
    let options = telemetry_queue::Options {
        directory: world.places.state.clone(),
        boot_id: world.clock.boot(),
        limits: checked.queue,
        job: purpose == Purpose::Job,
        probe: world.probe,
    };
    let begun = world.clock.now().boot_ms;
    loop {
        let now = world.clock.now();
        match telemetry_queue::open(options.clone(), now) {
            Err(error)
                if matches!(error.kind, ErrorKind::Passing { .. })
                    && goes_on()
                    && now.boot_ms.saturating_sub(begun) < JOB_MS =>
            {
                std::thread::park_timeout(LOOK_AGAIN);
            }
            opened => return Ok(opened?),
        }
    }
}

/// A job that holds the queue is waited for at most so long, milliseconds: it erases, or exports, what the queue has.
const JOB_MS: u64 = 5_000;

/// How often it is looked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The tools that have rows or books, by uid.
///
/// # Errors
/// When the queue is closed.
pub async fn known_tools(queue: &Queue) -> Result<Known, Failure> {
    let mut known = Known::new();
    for book in queue.books(None).await? {
        known
            .entry(book.lane.uid)
            .or_default()
            .insert(book.lane.tool.to_string());
    }
    Ok(known)
}

/// Runs until somebody ends it.
///
/// # Errors
/// Why it could not start.
pub fn run(world: World, mut early: Early) -> Result<(), Failure> {
    early.hear_the_end().map_err(unheard)?;
    let loaded = world.load()?;
    let in_background = background::is_child();
    if in_background {
        background::leave().map_err(|e| Failure::Failed(format!("cannot leave the directory: {e}")))?;
    }
    socket::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(format!("cannot start the runtime: {e}")))?;
    let opened = open_queue(&world, &loaded.checked, Purpose::Daemon, || !early.has_to_end());
    let (queue, owner, report) = match opened {
        // Nothing was begun.
        Ok((_, owner, _)) if early.has_to_end() => return Ok(owner.close()?),
        Err(_) if early.has_to_end() => return Ok(()),
        opened => opened?,
    };
    let log_file = in_background.then(|| world.places.state.join("telemetryd.log"));
    let level = log::begin(&loaded.checked.daemon.log, log_file.as_deref())
        .map_err(|e| Failure::Failed(format!("cannot open the log: {e}")))?;
    say_opened(&report, world.moved.as_deref());
    let ended = runtime.block_on(live(world, loaded, queue, &level, in_background, early));
    // Look-ups that hang in the resolver have threads of their own; they are not waited for.
    runtime.shutdown_background();
    owner.close()?;
    match &ended {
        Ok(()) => info!("stopped"),
        // In the background stderr is nobody's.
        Err(failure) if in_background => error!(?failure, "ended"),
        Err(_) => {}
    }
    ended
}

fn say_opened(report: &OpenReport, moved: Option<&str>) {
    if report.unclean {
        info!(
            "the queue is being checked in the background: the last daemon did not close it, or did not come to the end of that"
        );
    }
    if let Some(path) = &report.set_aside {
        error!(set_aside = %path.display(), salvaged = report.salvaged, lost = report.lost, "the queue was corrupt");
    }
    for book in &report.unbalanced {
        error!(uid = book.lane.uid, destination = %book.lane.destination, tool = %book.lane.tool, "the books do not balance");
    }
    if let Some(moved) = moved {
        warn!("{moved}");
    }
}

async fn live(
    mut world: World,
    loaded: Loaded,
    queue: Queue,
    level: &log::Level,
    in_background: bool,
    early: Early,
) -> Result<(), Failure> {
    let mut signals = Listener::new(early).map_err(unheard)?;
    let rooms = Rooms::new(&world, loaded, queue).await?;
    let (listener, bound) = socket::open(
        world.inherited.take(),
        &world.socket,
        world.socket_mode(),
        world.socket_directory_mode(),
    )?;
    let (anew, listeners) = tokio::sync::mpsc::channel(1);
    let kept = socket::keep(bound, world.socket_mode(), world.socket_directory_mode(), anew);
    let mut kept = Box::pin(kept);
    let listener = tokio::net::UnixListener::from_std(listener)
        .map_err(|e| Failure::Failed(format!("cannot listen: {e}")))?;
    let Rooms {
        queue,
        consent,
        identity,
        withdrawn,
        ender,
        mut phase,
        flushers,
        flush: flush_handle,
        connections,
        settings,
        loaded: loaded_sender,
        mut reloads,
        mut opened,
        gateway: gateway_state,
    } = rooms;
    let delivery = crate::thread::Thread::start("delivery")
        .map_err(|e| Failure::Failed(format!("cannot start a thread: {e}")))?;
    let mut flushing = delivery.spawn(flushers.run());
    flush_handle.arranged().await;
    let spooling = spool::run(world.places.clone(), world.uid, Arc::clone(&connections));
    let spooling = tokio::spawn(spooling);
    let gateway = gateway::run(
        Arc::clone(&connections),
        world.places.mode,
        gateway_state,
        loaded_sender.subscribe(),
    );
    let mut gateway = tokio::spawn(gateway);
    let mut listening = tokio::spawn(ingest::run(listener, listeners, connections));
    let withdrawing = tokio::spawn(withdrawals::each(
        withdrawn,
        queue.clone(),
        Arc::clone(&consent),
        identity,
        Arc::clone(&world.clock),
    ));
    let watching = tokio::spawn({
        let consent = Arc::clone(&consent);
        async move { consent.watch().await }
    });
    info!(version = crate::VERSION, pid = std::process::id(), socket = %world.socket.display(), "ready");
    notify::ready(&world.socket);
    if in_background && let Err(error) = background::ready() {
        warn!(%error, "cannot let go of the caller's terminal");
    }
    // Whoever came while it started is answered before what nobody waits for.
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    queue.begin_check().await?;
    // What only a start needs, of the tasks' beginnings, too.
    tokio::task::yield_now().await;
    telemetry_memory::give_back();

    let keep = Keep {
        world: &world,
        consent: &consent,
        queue: &queue,
        settings: &settings,
        loaded: &loaded_sender,
        level: Some(level),
    };
    let mut view = queue.view();
    let mut policies = consent.changes();
    let gone = state_dir::gone(&world.places.state);
    tokio::pin!(gone);
    let mut lost = None;
    // Running, until somebody or something ends it.
    loop {
        let idle = *opened.borrow_and_update() == 0 && view.borrow_and_update().events == 0;
        let idle_exit = settings.borrow().daemon.idle_exit.filter(|_| idle);
        tokio::select! {
            biased; // the listener ends because it was asked to: that comes first
            () = reached(&mut phase, Phase::Closing) => break,
            signal = signals.next() => match signal {
                Signal::End => ender.end(None),
                Signal::Reload => if let Err(refused) = keep.reload().await {
                    error!("the new settings are bad, the old ones stay:\n{refused}");
                },
                Signal::Flush => flush_handle.flush_soon(),
            },
            Some(answer) = reloads.recv() => { let _ = answer.send(keep.reload().await); }
            _ = opened.changed(), if idle_exit.is_some() || settings.borrow().daemon.idle_exit.is_some() => {}
            changed = view.changed(), if settings.borrow().daemon.idle_exit.is_some() => if changed.is_err() { ender.end(None) },
            Ok(()) = policies.changed() => {
                policies.mark_unchanged();
                keep.destinations();
            }
            () = &mut gone, if lost.is_none() => {
                error!(directory = %world.places.state.display(), "the state directory is gone: sending what can be sent, and leaving");
                lost = Some(Failure::Failed(format!("{} is gone", world.places.state.display())));
                ender.end(None);
            }
            failed = &mut kept, if lost.is_none() => {
                error!(error = %failed, "the socket is gone and cannot be made again: sending what can be sent, and leaving");
                lost = Some(failed.into());
                ender.end(None);
            }
            () = after(idle_exit) => { info!("idle: leaving"); ender.end(Some(Duration::ZERO)); }
            ended = &mut listening => return Err(Failure::Failed(format!("the listener ended: {ended:?}"))),
        }
    }
    // Whoever waits for a reload is told that there will be none.
    drop(reloads);
    // Closing and draining: bounded by the limit, and by a second signal.
    let limit = ender
        .drain_limit()
        .unwrap_or(settings.borrow().daemon.shutdown_drain)
        .max(CLOSING);
    info!(at_most = ?limit, "draining");
    notify::stopping(limit);
    drop(kept);
    let draining = async {
        // A client that never ends must not keep what is queued from being sent.
        let both = async { tokio::join!(&mut listening, &mut gateway) };
        let _ = tokio::time::timeout(limit / 2, both).await;
        if ender.drain_limit() != Some(Duration::ZERO) {
            ender.drain();
            let _ = (&mut flushing).await;
        }
    };
    tokio::select! {
        () = draining => {}
        () = tokio::time::sleep(limit) => {}
        () = reached(&mut phase, Phase::Stopping) => {}
        () = signals.end() => {}
    }
    ender.stop();
    listening.abort();
    gateway.abort();
    watching.abort();
    withdrawing.abort();
    spooling.abort();
    // A flusher between a claim and its settlement ends its lease; one that hangs is left behind.
    if !flushing.is_finished() {
        let _ = tokio::time::timeout(CLOSING, &mut flushing).await;
        flushing.abort();
    }
    lost.map_or(Ok(()), Err)
}

/// Turns of the runtime from a connection that waits in the backlog to the answer to its first line, and some to spare.
const TURNS: u32 = 8;

/// What has reached the socket is processed for at least so long, however short the drain.
const CLOSING: Duration = Duration::from_millis(500);

async fn after(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
