//! Who makes rankings while the engine takes spans?
//!
//! Going through an incident's evidence takes milliseconds where there are a thousand components, and a tenth of a second
//! where there are ten thousand. As long exporters would wait for an answer, each time. So the engine only puts together
//! what is ranked, which shares what is kept with it, and a thread of its own ranks it: one order at a time, so that what
//! is ranked is never older than one ranking takes.

use std::time::{Duration, Instant};

use rekindle_analysis::Ranking;
use rekindle_analysis::rank::{Input, Method, rank};
use tokio::sync::{mpsc, watch};

/// The rankings of one order.
#[derive(Debug)]
pub(crate) struct Ranked {
    /// One for each input, in their order.
    pub(crate) rankings: Vec<Ranking>,
    /// How long that took.
    pub(crate) took: Duration,
}

/// The engine's end: what it asks.
#[derive(Debug)]
pub(crate) struct Ranker {
    orders: mpsc::Sender<Vec<Input>>,
    is_busy: bool,
}

/// The other ends: of who ranks, and where the engine hears of it.
pub(crate) struct RankerEnds {
    /// To be run beside the engine.
    pub(crate) work: RankerWork,
    /// What it made.
    pub(crate) rankings: mpsc::Receiver<Ranked>,
}

/// What is done on the thread.
pub(crate) struct RankerWork {
    orders: mpsc::Receiver<Vec<Input>>,
    rankings: mpsc::Sender<Ranked>,
}

impl Ranker {
    /// One, and its other ends. There is never more than one order.
    pub(crate) fn new() -> (Self, RankerEnds) {
        let (orders, asked) = mpsc::channel(1);
        let (made, rankings) = mpsc::channel(1);
        let ranker = Self {
            orders,
            is_busy: false,
        };
        let work = RankerWork {
            orders: asked,
            rankings: made,
        };
        (ranker, RankerEnds { work, rankings })
    }

    /// Whether an order hasn't been answered yet.
    pub(crate) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Has these ranked. Only who isn't busy may be asked.
    pub(crate) fn ask(&mut self, inputs: Vec<Input>) {
        // Who ranks has ended only when the daemon ends.
        self.is_busy = self.orders.try_send(inputs).is_ok();
    }

    /// The order was answered.
    pub(crate) const fn answered(&mut self) {
        self.is_busy = false;
    }
}

impl RankerWork {
    /// Ranks what is asked for until the daemon stops, or the engine is gone.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let inputs = tokio::select! {
                biased;
                // An error means that nobody is left to say so.
                _ = stopped.wait_for(|stop| *stop) => return,
                inputs = self.orders.recv() => inputs,
            };
            let Some(inputs) = inputs else { return };
            let began = Instant::now();
            let rankings = inputs.iter().map(|input| rank(Method::Default, input));
            let ranked = Ranked {
                rankings: rankings.collect(),
                took: began.elapsed(),
            };
            // What is kept is changed in its place only when nobody else has it.
            drop(inputs);
            if self.rankings.send(ranked).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_order_after_the_other_until_the_daemon_stops() {
        let (mut ranker, RankerEnds { work, mut rankings }) = Ranker::new();
        let stop = watch::Sender::new(false);
        let works = tokio::spawn(work.run(stop.subscribe()));
        for _ in 0..3 {
            assert!(!ranker.is_busy());
            ranker.ask(Vec::new());
            assert!(ranker.is_busy());
            let ranked = rankings.recv().await.expect("an answer");
            assert_eq!(ranked.rankings, []);
            ranker.answered();
        }
        stop.send_replace(true);
        works.await.expect("ends without a panic");
        ranker.ask(Vec::new());
        assert!(!ranker.is_busy(), "nobody would answer");
        assert!(rankings.recv().await.is_none());
    }
}
