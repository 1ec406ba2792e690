//! Serves the review pages with made-up data, for looking at them: the tests' fixture as it is, or
//! with `quiet` when all is well, or with `empty` before the first request.
//!
//!     cargo run --example pages -- 127.0.0.1:4320

#[path = "../tests/it/fixture.rs"]
#[expect(dead_code, reason = "the tests use what this doesn't")]
mod fixture;

use rekindle::view::View;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = arguments.first().map_or("127.0.0.1:4320", String::as_str);
    let view = match arguments.get(1).map(String::as_str) {
        Some("quiet") => fixture::quiet_view(),
        Some("empty") => View {
            now: fixture::time(0),
            status: fixture::view().status,
            ..View::default()
        },
        _ => fixture::view(),
    };
    let mut view = view;
    if arguments.get(1).is_some_and(|which| which == "empty") {
        view.status.requests = 0;
    }
    let _server = fixture::Server::start_at(address, view);
    loop {
        std::thread::park();
    }
}
