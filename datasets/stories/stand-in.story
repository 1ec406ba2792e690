# Of two that stand in for each other one is always left up, whoever accuses what contains them.
tree
  site
    desk              20/s   minimum 1
      desk.a   2s     10/s
      desk.b   2s     10/s
    bank       5s     10/s
at 10s desk.a fails 80% until desk.a and desk.b are restarted
at 10m end
