# A process is sick, and each of its parts shows it by itself: five incidents, one restart. Then two of them are sick at
# once, of themselves: each is restarted alone.
tree
  site
    shop           4s     30/s
      shop.cart    400ms  10/s
      shop.list    400ms  10/s
      shop.mail    400ms  5/s
      shop.pay     400ms  5/s
      shop.sign    400ms  5/s
    bank           5s     10/s
at 10s shop.cart fails 80% until shop is restarted
at 10s shop.list fails 80% until shop is restarted
at 10s shop.mail fails 80% until shop is restarted
at 10s shop.pay fails 80% until shop is restarted
at 10s shop.sign fails 80% until shop is restarted
at 1200s shop.cart fails 80% until shop.cart is restarted
at 1200s shop.pay fails 80% until shop.pay is restarted
