# One unit is restarted only if a person says so, and one plan is rejected: nothing more is done about that incident.
tree
  site
    mail  3s   5/s  propose
    bank  5s  10/s
at 10s mail fails 60% until mail is restarted
at 30s approve
at 5m mail fails 60% for 3m
at 6m reject
at 7m approve
at 10m end
