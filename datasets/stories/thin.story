# Too few requests come to tell whether it helped: it is unknown, and nothing is climbed.
tree
  site
    shop        4s     0.05/s
      shop.cart 400ms  0.02/s
    bank        5s     10/s
at 10s shop.cart fails 80% until shop is restarted
at 1h end
