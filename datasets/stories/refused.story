# An executor that refuses leaves the unit as it was. The process is next.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
at 0s executor of shop.cart refuses
at 10s shop.cart fails 80% until shop.cart is restarted
