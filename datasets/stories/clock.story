# Budgets are about time that passes: neither a clock that is set forward nor an engine that is killed in the same
# moment makes them fresh.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
policy restarts per unit 2
at 10s every 2m 3 times shop.cart fails 80% until shop.cart is restarted
at 200s clock +2h
at 200s kill
at 10m end
