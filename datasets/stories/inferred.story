# Two that hand the fault on to each other, as recoveries have shown: they are one more thing that can be restarted,
# instead of all that contains both, which is what `uninferred` has to do.
tree
  site
    shop             4s     30/s
      shop.cart      400ms  10/s
    bank             8s     20/s
      bank.pay       400ms  10/s
at 1s infer shop.cart and bank.pay 90%
at 10s shop.cart fails 80% until shop.cart and bank.pay are restarted
at 5m end
