# Who is accused by one source only is restarted by nobody but a person.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
at 10s shop.cart fails 80% until shop.cart is restarted, told as shop.cart 90% by one
at 40s approve
