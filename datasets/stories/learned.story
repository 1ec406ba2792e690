# Each time only the whole process cures. By then its component isn't tried first any more.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
policy restarts per unit 100
policy restarts per tree 100
at 10s every 61m 5 times shop.cart fails 80% until shop is restarted
