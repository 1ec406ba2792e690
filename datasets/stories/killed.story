# The engine is killed while it restarts something. Nobody can say what became of that: it is charged, not repeated,
# and a person is asked.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
at 10s shop fails 80% until shop is restarted
at 14s kill
