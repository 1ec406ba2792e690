# As parts.story, but the cause is what a restart of the process doesn't cure: having been in vain once, it isn't what each
# of the other four asks for next.
tree
  site
    shop           4s     30/s
      shop.cart    400ms  10/s
      shop.list    400ms  10/s
      shop.mail    400ms  5/s
      shop.pay     400ms  5/s
      shop.sign    400ms  5/s
    bank           5s     10/s
at 10s shop.cart fails 80% for 300s
at 10s shop.list fails 80% for 300s
at 10s shop.mail fails 80% for 300s
at 10s shop.pay fails 80% for 300s
at 10s shop.sign fails 80% for 300s
