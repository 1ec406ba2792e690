//! Who calls whom in the made-up system?

use fastrand::Rng;

/// Request types per system: enough to be told apart, few enough to have counts each.
const REQUEST_TYPES: usize = 12;

/// Calls below one request: with the entry span, and two spans a call, about ten spans a trace.
const CALLS: usize = 5;

/// What a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// One span of a request type.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) service: usize,
    pub(super) role: Role,
    /// The step above; before this one in the list.
    pub(super) parent: Option<usize>,
    pub(super) method: &'static str,
    pub(super) route: String,
    /// The service that a client asks.
    pub(super) callee: Option<usize>,
}

/// The spans of one request type, parents first.
pub(super) type RequestType = Vec<Step>;

/// The request types of a system with so many services.
pub(super) fn request_types(services: usize, random: &mut Rng) -> Vec<RequestType> {
    (0..REQUEST_TYPES.min(services))
        .map(|entry| request_type(entry, services, random))
        .collect()
}

fn request_type(entry: usize, services: usize, random: &mut Rng) -> RequestType {
    let mut steps = vec![server(entry, None, random)];
    for _ in 0..CALLS {
        let servers: Vec<usize> = (0..steps.len())
            .filter(|step| steps[*step].role == Role::Server)
            .collect();
        let caller = servers[random.usize(..servers.len())];
        // Services call only later ones, as in a system with layers; the last calls nobody.
        let service = steps[caller].service;
        if service + 1 >= services {
            continue;
        }
        let callee = random.usize(service + 1..services);
        let answer = server(callee, Some(steps.len()), random);
        steps.push(Step {
            service,
            role: Role::Client,
            parent: Some(caller),
            callee: Some(callee),
            ..answer.clone()
        });
        steps.push(answer);
    }
    steps
}

fn server(service: usize, parent: Option<usize>, random: &mut Rng) -> Step {
    const THINGS: [&str; 6] = ["items", "carts", "orders", "users", "bids", "payments"];
    let thing = THINGS[random.usize(..THINGS.len())];
    Step {
        service,
        role: Role::Server,
        parent,
        method: ["GET", "POST"][random.usize(..2)],
        route: format!("/api/v1/{thing}/{{id}}"),
        callee: None,
    }
}
