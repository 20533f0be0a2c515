//! What somebody asks of a flusher: what it means for the flusher is done at once, what the queue has to do for it is an
//! errand, which a request under way does not wait for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Flusher, keep};
use crate::flush::Order;

/// What the queue does for an order. Begun, it is not dropped: who waits for it is told at its end.
pub(super) type Errand = Pin<Box<dyn Future<Output = Brought> + Send>>;

/// What an errand has brought.
pub(super) enum Brought {
    /// The state is kept.
    Kept(Option<oneshot::Sender<()>>),
    /// So many events of this user wait.
    Waiting { uid: u32, events: u64 },
    /// The queue is closed.
    Nothing,
}

impl Flusher {
    /// Obeys, and waits until it holds.
    pub(super) async fn obey(&mut self, order: Order) {
        self.begin(order);
        self.end_errand().await;
    }

    /// Does at once what can be done at once; the rest is the errand. There is none under way.
    pub(super) fn begin(&mut self, order: Order) {
        let queue = self.shared.queue.clone();
        let name = Arc::clone(&self.settings.name);
        let (mut told, mut released) = (None, true);
        match order {
            Order::Flush(Some(uid)) => {
                self.errand = Some(Box::pin(async move {
                    let Ok(view) = queue.view_of(uid).await else {
                        return Brought::Nothing;
                    };
                    let own = view.destinations.iter().find(|(known, _)| *known == name);
                    let events = own.map_or(0, |(_, waiting)| waiting.events);
                    Brought::Waiting { uid, events }
                }));
                return;
            }
            Order::Flush(None) => {
                let waiting = self.waiting();
                self.flush_until = Some(waiting.left + waiting.events + waiting.leased);
                return;
            }
            Order::Pause(hold, answer) => {
                self.state.pause(self.shared.clock.now(), hold);
                (told, released) = (Some(answer), false);
            }
            Order::Resume(answer) => {
                self.state.resume();
                told = Some(answer);
            }
            Order::Settings(settings, client) => {
                // What a file holds that the settings name may have been mended, though they read the same.
                self.state.release();
                if *settings != self.settings {
                    self.client = Some(*client);
                    self.settings = *settings;
                }
            }
        }
        self.publish();
        let state = self.state.clone();
        released &= self.shared.by_user;
        self.errand = Some(Box::pin(async move {
            // First: what is kept stands in the queue's channel in the order in which it was decided.
            keep(&queue, &name, &state).await;
            if released {
                // Nobody's rows are held any more. Closed, it holds nobody's.
                let _ = queue.hold_users(&name, Vec::new()).await;
            }
            Brought::Kept(told)
        }));
    }

    /// What the errand brings; waits for ever where there is none. Cancel safe.
    pub(super) async fn brought(errand: &mut Option<Errand>) -> Brought {
        let brought = match errand {
            Some(under_way) => under_way.await,
            None => std::future::pending().await,
        };
        *errand = None;
        brought
    }

    /// Takes what an errand has brought.
    pub(super) fn take_brought(&mut self, brought: Brought) {
        match brought {
            Brought::Kept(Some(told)) => {
                let _ = told.send(());
            }
            Brought::Waiting { uid, events } => self.send_early(uid, events),
            Brought::Kept(None) | Brought::Nothing => {}
        }
    }

    /// Waits for the errand's end, where one is under way.
    pub(super) async fn end_errand(&mut self) {
        if self.errand.is_some() {
            let brought = Self::brought(&mut self.errand).await;
            self.take_brought(brought);
        }
    }
}
