# A component that only its process's restart cures: the part first, since it is cheap, then the whole.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
      shop.search 500ms 15/s
    bank        5s     10/s
    mail        3s     5/s    propose
at 10s shop.cart fails 80% until shop is restarted
