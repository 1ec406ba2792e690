# More requests than can be served: a restart would make it worse.
tree
  site
    shop  4s  30/s
    bank  5s  10/s
at 10s shop fails 60% for 2m with overload
