# A clock that is set back makes no budget last longer, and no old evidence new: what was spent is spent for as long as
# time really passes, in this engine and in the next.
tree
  site
    shop        4s     30/s
      shop.cart 400ms  10/s
    bank        5s     10/s
policy restarts per unit 2
policy budget period 10m
at 10s every 2m 2 times shop.cart fails 80% until shop.cart is restarted
at 200s clock -2h
at 250s shop.cart fails 80% until shop.cart is restarted
at 300s kill
at 15m end
