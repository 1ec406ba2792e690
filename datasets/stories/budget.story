# A fault that comes back after every restart uses up the unit's budget; then a person is called.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
policy restarts per unit 2
at 10s every 2m 4 times shop.cart fails 80% until shop.cart is restarted
at 30m end
