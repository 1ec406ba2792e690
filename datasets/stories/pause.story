# During a pause nothing happens unattended; clocks that jump change nothing about that.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
at 5s pause 5m
at 10s shop.cart fails 80% until shop.cart is restarted
at 60s clock -2h
at 90s resume
at 10m end
