# The ranking accuses a neighbour first. What doesn't help is told from what does, and the next suspect is tried.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
      shop.search 500ms 15/s
    bank        5s     10/s
at 10s shop.cart fails 80% until shop.cart is restarted, told as shop.search 60% shop.cart 30%
