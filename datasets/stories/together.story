# Two that hand the fault on to each other: neither restart alone cures (the second is unlikely enough for a person to be
# asked), and what contains both does.
tree
  site
    shop             4s     30/s
      shop.cart      400ms  10/s
      shop.session   400ms  10/s
    bank             5s     10/s
at 10s shop.cart fails 80% until shop.cart and shop.session are restarted, told as shop.cart 60% shop.session 30%
at 30s approve
